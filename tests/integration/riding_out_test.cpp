// `LockOptions::ride_out`, of every class, while the server is away.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "diary.hpp"
#include "every_class.hpp"
#include "proxy.hpp"

namespace redlatch::test {
namespace riding_out_test {

const LockOptions rides_out{.ttl = 60s, .ride_out = true};

/// A server that is away at first.
template <class Of>
class EveryLockRidesOut : public testing::Test {
 protected:
  using L = typename Of::Class;

  EveryLockRidesOut() { server.kill(); }
  ~EveryLockRidesOut() override {
    if (thread.joinable()) thread.join();
  }

  template <class... How>
  L make(How... how) {
    return Of::make(servers, std::move(how)...);
  }
  /// Makes a lock in a thread, in which the server is away for the first attempt.
  template <class... How>
  void make_in_a_thread(How... how) {
    thread = std::thread(
        [this, how...] { thrown = error_of([&] { held = make(how...).owns_lock(); }); });
  }
  bool waits() {
    return eventually([&] { return servers.waiting() == 1; });
  }

  RedisServer server{};
  Diary diary{};
  // The last of a client waits for what is owed: for so long.
  Servers servers{server.url(), diary.options({.connect_timeout = 5s, .command_timeout = 1s})};
  std::stop_source stop{};
  std::error_code thrown{};
  bool held = false;
  std::thread thread{};
};
TYPED_TEST_SUITE(EveryLockRidesOut, EveryClass, );

TYPED_TEST(EveryLockRidesOut, AServerThatIsAwayAtFirst) {
  this->make_in_a_thread(rides_out);
  EXPECT_TRUE(this->waits());
  this->server.start();
  this->thread.join();
  EXPECT_EQ(this->thrown, std::error_code());
  EXPECT_TRUE(this->held);
}

TYPED_TEST(EveryLockRidesOut, AServerThatIsAwayAtFirstInABoundedWait) {
  this->make_in_a_thread(10min, rides_out);
  EXPECT_TRUE(this->waits());
  this->server.start();
  this->thread.join();
  EXPECT_EQ(this->thrown, std::error_code());
  EXPECT_TRUE(this->held);
}

TYPED_TEST(EveryLockRidesOut, UntilItIsStopped) {
  this->make_in_a_thread(this->stop.get_token(), rides_out);
  EXPECT_TRUE(this->waits());
  this->stop.request_stop();
  this->thread.join();
  EXPECT_EQ(this->thrown, std::error_code());
  EXPECT_FALSE(this->held);
}

TYPED_TEST(EveryLockRidesOut, WithAnEventThatSaysWhy) {
  this->make_in_a_thread(this->stop.get_token(), rides_out);
  const auto told = [this] { return this->diary.find(EventKind::connect_failed); };
  EXPECT_TRUE(eventually([&] { return told().has_value(); }));
  this->stop.request_stop();
  this->thread.join();
  ASSERT_TRUE(told());
  const Event event = *told();
  const std::string name = this->server.name();
  EXPECT_EQ(event.error, Errc::unreachable);
  EXPECT_EQ(event.key, "");
  EXPECT_EQ(event.server, name);
  EXPECT_TRUE(event.detail.starts_with("redlatch: " + name + ": ")) << event.detail;
  EXPECT_TRUE(event.detail.ends_with(": server unreachable")) << event.detail;
}

TYPED_TEST(EveryLockRidesOut, UntilItsTimeIsOver) {
  const Error error = thrown_by([&] { static_cast<void>(this->make(200ms, rides_out)); });
  EXPECT_TRUE(error.transient());
  EXPECT_TRUE(error.code() == Errc::unreachable || error.code() == Errc::no_quorum);
  EXPECT_NE(std::string(error.what()).find("cannot connect"), std::string::npos) << error.what();
}

TYPED_TEST(EveryLockRidesOut, NotInASingleAttempt) {
  const Error error =
      thrown_by([&] { static_cast<void>(this->make(std::try_to_lock, rides_out)); });
  EXPECT_TRUE(error.transient());
}

TYPED_TEST(EveryLockRidesOut, NotByDefault) {
  const Error error = thrown_by([&] { static_cast<void>(this->make(10min, long_lease)); });
  EXPECT_TRUE(error.transient());
}

/// Which is no outage, and does not go by.
TEST(LockRidesOut, NoWrongPassword) {
  const RedisServer server({"--requirepass", "secret"});
  Client client("redis://:wrong@127.0.0.1:" + std::to_string(server.port()), patient());
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", rides_out); }),
            Errc::authentication_failed);
  EXPECT_EQ(error_of([&] { const FairLock lock(client, "job", rides_out); }),
            Errc::authentication_failed);
}

/// Of a quorum, where the servers with the right password are no majority.
TEST(RedlockRidesOut, NoWrongPasswordOfAMajority) {
  const RedisServer servers[] = {RedisServer({"--requirepass", "secret"}), RedisServer(),
                                 RedisServer({"--requirepass", "secret"})};
  std::vector<std::string> urls;
  for (const RedisServer& one : servers) {
    urls.push_back("redis://:wrong@127.0.0.1:" + std::to_string(one.port()));
  }
  urls[1] = servers[1].url();
  const ClientOptions options{.connect_timeout = 20s, .command_timeout = 1s};
  Quorum nodes(urls, {.client = options, .server_timeout = 20s});
  const Error error = thrown_by([&] { const Redlock lock(nodes, "job", 5s, rides_out); });
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_EQ(error.server(), "all");
}

TEST(RedlockRidesOut, AWrongPasswordWhereOthersAreAMajority) {
  const RedisServer refuses({"--requirepass", "secret"});
  const RedisServer first;
  RedisServer second;
  second.kill();
  Quorum nodes(
      {"redis://:wrong@127.0.0.1:" + std::to_string(refuses.port()), first.url(), second.url()},
      {.client = less_patient(), .server_timeout = 10s});
  std::thread waiter([&] {
    EXPECT_EQ(error_of([&] { const Redlock lock(nodes, "job", rides_out); }), std::error_code());
  });
  EXPECT_TRUE(eventually([&] { return nodes.metrics().waiting == 1; }));
  second.start();
  waiter.join();
}

TEST(LockRidesOut, AServerThatCannotWriteYet) {
  RedisServer server;
  RawClient raw(server.socket());
  Client client(server.url(), patient());
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  std::thread waiter([&] {
    EXPECT_EQ(error_of([&] { const Lock lock(client, "job", rides_out); }), std::error_code());
  });
  EXPECT_TRUE(eventually([&] { return raw.errors("READONLY") >= 2; }));
  raw.command({"REPLICAOF", "NO", "ONE"});
  waiter.join();
}

/// Four connections and the one for messages have five attempts a second each at most, once their
/// pauses have grown.
TEST(LockRidesOut, WithoutAStormOfConnections) {
  RedisServer server;
  Proxy proxy(server.socket());
  proxy.redirect("/nowhere");
  Client client(proxy.url());
  std::list<std::thread> threads;
  std::stop_source stop;
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&, i] {
      const Lock lock(client, "job " + std::to_string(i % 16), stop.get_token(), rides_out);
      EXPECT_FALSE(lock.owns_lock());
    });
  }
  constexpr std::size_t many = 60;
  const auto time =
      duration_of([&] { EXPECT_TRUE(eventually([&] { return proxy.refused() >= many; }, 60s)); });
  EXPECT_GE(time, 1s);
  stop.request_stop();
  for (std::thread& thread : threads) thread.join();
}

/// A log gets a line in a second, however many threads wait by however many connections, and the
/// numbers have every attempt.
TEST(LockRidesOut, WithoutAFloodOfEvents) {
  RedisServer server;
  Proxy proxy(server.socket());
  proxy.redirect("/nowhere");
  Diary diary([](const Event& event) { return event.kind == EventKind::connect_failed; });
  Client client(proxy.url(), diary.options({}));
  std::list<std::thread> threads;
  std::stop_source stop;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 64; ++i) {
    threads.emplace_back([&, i] {
      const Lock lock(client, "job " + std::to_string(i % 16), stop.get_token(), rides_out);
      EXPECT_FALSE(lock.owns_lock());
    });
  }
  constexpr std::uint64_t many = 30;
  EXPECT_TRUE(eventually([&] { return client.metrics().connect_failed >= many; }, 60s));
  stop.request_stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(client.metrics().connect_failed, proxy.refused()) << "not once for each caller";
  const auto seconds =
      std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
  EXPECT_GE(diary.events().size(), 1U);
  EXPECT_LE(diary.events().size(), static_cast<std::size_t>(seconds.count()));
}

/// A server that answers and refuses to write, as no connection fails then. One event of all waits,
/// and another one after a second.
class LockRidesOutRefusals : public testing::Test {
 protected:
  ~LockRidesOutRefusals() override { end(); }

  void wait_in_threads(const LockOptions& options) {
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([this, i, options] {
        const Lock lock(client, "job " + std::to_string(i), stop.get_token(), options);
        held += lock.owns_lock() ? 1 : 0;
      });
    }
  }
  void end() {
    stop.request_stop();
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  }
  void expect_events(const std::error_code& error, const std::string& text) {
    EXPECT_TRUE(eventually([&] { return diary.events().size() >= 3; }));
    const auto seconds =
        std::chrono::ceil<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
    const std::vector<Event> events = diary.events();
    ASSERT_GE(events.size(), 3U);
    EXPECT_LE(events.size(), static_cast<std::size_t>(seconds.count()));
    EXPECT_GT(client.metrics().attempt_failed, events.size());
    for (const Event& event : events) {
      EXPECT_TRUE(event.key.starts_with("job ")) << event.key;
      EXPECT_EQ(event.error, error);
      EXPECT_EQ(event.server, server.name());
      EXPECT_TRUE(event.detail.starts_with("redlatch: lock \"" + event.key + "\" on " +
                                           server.name() + ": "))
          << event.detail;
      EXPECT_NE(event.detail.find(text), std::string::npos) << event.detail;
      EXPECT_TRUE(event.detail.ends_with(": " + error.message())) << event.detail;
    }
    EXPECT_GE(events.back().elapsed, 1s);
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Diary diary{[](const Event& event) { return event.kind == EventKind::attempt_failed; }};
  Client client{server.url(), diary.options()};
  std::stop_source stop{};
  std::list<std::thread> threads{};
  std::atomic<int> held = 0;
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

TEST_F(LockRidesOutRefusals, WithAnEventForMemoryThatIsFull) {
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  wait_in_threads(rides_out);
  expect_events(make_error_code(Errc::not_writable), "OOM command not allowed");
  raw.command({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(eventually([&] { return held == 4; }));
}

TEST_F(LockRidesOutRefusals, WithAnEventForTooFewReplicasToWrite) {
  raw.command({"CONFIG", "SET", "min-replicas-to-write", "1"});
  wait_in_threads(rides_out);
  expect_events(make_error_code(Errc::not_writable), "NOREPLICAS Not enough good replicas");
  raw.command({"CONFIG", "SET", "min-replicas-to-write", "0"});
  EXPECT_TRUE(eventually([&] { return held == 4; }));
}

TEST_F(LockRidesOutRefusals, WithAnEventForTooFewReplicasOfDurability) {
  LockOptions options = rides_out;
  options.durability = {.replicas = 1, .timeout = 50ms};
  wait_in_threads(options);
  expect_events(make_error_code(Errc::no_quorum), "replicas");
}

/// Of a quorum, an event of all of its servers.
TEST(RedlockRidesOut, WithAnEventForServersThatCannotWrite) {
  Diary diary([](const Event& event) { return event.kind == EventKind::attempt_failed; });
  std::list<RedisServer> servers;
  std::vector<std::string> urls;
  for (int i = 0; i < 3; ++i) {
    servers.emplace_back(std::vector<std::string>{"--min-replicas-to-write", "1"});
    urls.push_back(servers.back().url());
  }
  Quorum nodes(urls, {.client = diary.options(less_patient())});
  std::stop_source stop;
  std::thread waiter([&] {
    const Redlock lock(nodes, "job", stop.get_token(), rides_out);
    EXPECT_FALSE(lock.owns_lock());
  });
  const Event event = diary.first();
  EXPECT_EQ(event.key, "job");
  EXPECT_EQ(event.server, "all");
  EXPECT_NE(event.detail.find("NOREPLICAS"), std::string::npos) << event.detail;
  stop.request_stop();
  waiter.join();
}

/// Each server of a quorum has its own line.
TEST(RedlockRidesOut, WithAnEventOfEachServer) {
  Diary diary([](const Event& event) { return event.kind == EventKind::connect_failed; });
  std::vector<std::string> urls;
  for (int i = 0; i < 3; ++i) urls.push_back("redis://127.0.0.1:" + std::to_string(free_port()));
  Quorum nodes(urls, {.client = diary.options(less_patient())});
  std::stop_source stop;
  std::thread waiter([&] {
    const Redlock lock(nodes, "job", stop.get_token(), rides_out);
    EXPECT_FALSE(lock.owns_lock());
  });
  const auto servers = [&] {
    std::set<std::string> all;
    for (const Event& event : diary.events()) all.insert(event.server);
    return all;
  };
  EXPECT_TRUE(eventually([&] { return servers().size() == 3; }));
  EXPECT_EQ(servers(), (std::set<std::string>{urls[0] + "/0", urls[1] + "/0", urls[2] + "/0"}));
  EXPECT_GE(nodes.metrics().connect_failed, 3U);
  stop.request_stop();
  waiter.join();
}

/// Each attempt leaves a release, as it may have been carried out: these are not repeated one by
/// one until the ttl is over.
TEST(LockRidesOut, WithoutAStormOfReleases) {
  const RedisServer server({"--min-replicas-to-write", "1"});
  RawClient raw(server.socket());
  Client client(server.url(), patient());
  std::list<std::thread> threads;
  std::stop_source stop;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const MultiLock lock(client, {"job " + std::to_string(i)}, stop.get_token(), rides_out);
      EXPECT_FALSE(lock.owns_lock());
    });
  }
  EXPECT_TRUE(eventually([&] { return raw.calls("exists") >= 200; }, 60s));  // one in an attempt
  // Of an attempt: itself, the question for the ttl, and the release.
  EXPECT_LE(raw.calls("evalsha"), 5 * raw.calls("exists"));
  stop.request_stop();
  for (std::thread& thread : threads) thread.join();
  raw.command({"CONFIG", "SET", "min-replicas-to-write", "0"});  // so that they are answered
}

}  // namespace riding_out_test
}  // namespace redlatch::test
