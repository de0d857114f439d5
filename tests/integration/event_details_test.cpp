// What people read in an event: the text, the server, how long a lock was held, and the thread of
// this process that holds the key.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "diary.hpp"
#include "every_class.hpp"
#include "quorum.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace event_details_test {

using namespace std::string_literals;

const LockOptions rides_out{.ttl = 60s, .ride_out = true};

std::optional<Event> found(const Diary& diary, EventKind kind) {
  EXPECT_TRUE(eventually([&] { return diary.find(kind).has_value(); })) << kind;
  return diary.find(kind);
}

class EventDetail : public testing::Test {
 protected:
  Event told(EventKind kind) const { return found(diary, kind).value_or(Event{}); }

  RedisServer server{};
  RawClient raw{server.socket()};
  Diary diary{};
  std::optional<Client> client{std::in_place, server.url(), diary.options(less_patient())};
  const std::string name = server.name();
};

TEST_F(EventDetail, NamesTheServerInEveryEvent) {
  {
    const Lock lock(*client, "job", {.ttl = 1s});
    EXPECT_FALSE(Lock(*client, "job", std::try_to_lock));
    EXPECT_TRUE(eventually([&] { return diary.find(EventKind::renewed).has_value(); }));
  }
  EXPECT_TRUE(eventually([&] { return diary.find(EventKind::released).has_value(); }));
  for (const Event& event : diary.events()) EXPECT_EQ(event.server, name) << event.kind;
}

TEST_F(EventDetail, IsEmptyForSuccesses) {
  { const Lock lock(*client, "job", long_lease); }
  told(EventKind::released);
  for (const Event& event : diary.events()) {
    if (event.kind == EventKind::connected) continue;
    EXPECT_EQ(event.detail, "") << event.kind;
  }
}

TEST_F(EventDetail, IsWhatAnErrorWouldSayOfARenewal) {
  const Lock lock(*client, "a job", {.ttl = 3s});
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  const std::string detail = told(EventKind::renewal_failed).detail;
  EXPECT_TRUE(detail.starts_with("redlatch: lock \"a job\" on " + name + ": the server said \""))
      << detail;
  EXPECT_NE(detail.find("READONLY"), std::string::npos) << detail;
  EXPECT_NE(detail.find("it is a replica; use its primary"), std::string::npos) << detail;
  EXPECT_TRUE(detail.ends_with(": server cannot write now")) << detail;
  raw.command({"REPLICAOF", "NO", "ONE"});
}

TEST_F(EventDetail, IsWhatAnErrorWouldSayOfALostConnection) {
  const Lock lock(*client, "job", {.ttl = 3s});
  server.kill();
  const std::string renewal = told(EventKind::renewal_failed).detail;
  EXPECT_TRUE(renewal.starts_with("redlatch: lock \"job\" on " + name + ": ")) << renewal;
  EXPECT_TRUE(renewal.ends_with(": server unreachable")) << renewal;
  const Event closed = told(EventKind::disconnected);
  EXPECT_EQ(closed.key, "");
  EXPECT_EQ(closed.detail.starts_with("redlatch: " + name + ": "), bool(closed.error));
  server.start();
}

TEST_F(EventDetail, IsWhatAnErrorWouldSayOfAReleaseInTheBackground) {
  {
    const Lock lock(*client, "job", {.ttl = 1s, .auto_renew = false});
    raw.command({"REPLICAOF", "127.0.0.1", "1"});
  }
  const std::string detail = told(EventKind::release_unknown).detail;
  EXPECT_NE(detail.find("READONLY"), std::string::npos) << detail;
  EXPECT_TRUE(detail.ends_with(": server cannot write now")) << detail;
}

TEST_F(EventDetail, IsWhatAnErrorWouldSayOfUnlock) {
  Lock lock(*client, "job", {.ttl = 5s, .auto_renew = false});
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  const std::string detail = told(EventKind::release_unknown).detail;
  EXPECT_NE(detail.find("READONLY"), std::string::npos) << detail;
  raw.command({"REPLICAOF", "NO", "ONE"});
}

/// A connection that is new is kept, as another would lead to the same server.
TEST_F(EventDetail, SaysWhyAConnectionToAReplicaIsNotUsedAnyMore) {
  raw.command({"SET", "held", "a stranger"});
  std::stop_source stop;
  std::thread waiter([&] {
    const Lock lock(*client, "held", stop.get_token(), rides_out);
    EXPECT_FALSE(lock.owns_lock());
  });
  EXPECT_TRUE(eventually([&] { return raw.exists("held:redlatch:queue:{held}"); }));
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  const auto are_said = [&](const std::string& text) {
    return eventually([&] {
      error_of([&] { const Lock lock(*client, "job", std::try_to_lock); });
      const std::vector<Event> events = diary.events();
      return std::any_of(events.begin(), events.end(), [&](const Event& event) {
        return event.kind == EventKind::disconnected && event.error == Errc::not_writable &&
               event.detail.starts_with("redlatch: " + name + ": " + text) &&
               event.detail.ends_with(": server cannot write now");
      });
    });
  };
  EXPECT_TRUE(
      are_said("the server said \"READONLY You can't write against a read only replica.\"; "
               "it is a replica; use its primary"));
  EXPECT_TRUE(are_said("the server refuses the commands of another connection"));
  stop.request_stop();
  waiter.join();
  raw.command({"REPLICAOF", "NO", "ONE"});
}

/// The second connection is that for messages.
TEST(EventDetailOfAServer, IsTheAddressThatAConnectionLeadsTo) {
  const RedisServer server;
  const std::string port = std::to_string(server.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::connected; });
  Client client("redis://localhost:" + port, diary.options(single()));
  const Lock holder(client, "job", long_lease);
  EXPECT_FALSE(FairLock(client, "job", 50ms));
  EXPECT_TRUE(eventually([&] { return diary.events().size() == 2; }));
  for (const Event& event : diary.events()) {
    EXPECT_EQ(event.detail, "127.0.0.1:" + port);
    EXPECT_EQ(event.server, "redis://localhost:" + port + "/0");
    EXPECT_FALSE(event.error);
  }
}

TEST(EventDetailOfAServer, HasNoSecrets) {
  const RedisServer server({"--requirepass", "planted-secret"});
  RawClient raw(server.socket());
  raw.command({"AUTH", "planted-secret"});
  Diary diary;
  std::vector<std::string> tokens;
  {
    Client client("redis://:planted-secret@127.0.0.1:" + std::to_string(server.port()) + "/3",
                  diary.options(less_patient()));
    const Lock lock(client, "job", {.ttl = 1s});
    tokens.push_back(lock.token());
    raw.command({"CONFIG", "SET", "requirepass", "another-secret"});
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    EXPECT_TRUE(eventually([&] { return diary.find(EventKind::lost).has_value(); }));
  }
  const auto failed = found(diary, EventKind::renewal_failed);
  ASSERT_TRUE(failed);
  EXPECT_NE(failed->detail.find("WRONGPASS"), std::string::npos) << failed->detail;
  for (const Event& event : diary.events()) {
    const std::string all = event.detail + event.server + event.key;
    EXPECT_EQ(all.find("secret"), std::string::npos) << all;
    EXPECT_EQ(all.find(tokens.front()), std::string::npos) << all;
    EXPECT_EQ(event.server, "redis://127.0.0.1:" + std::to_string(server.port()) + "/3");
  }
}

/// A proxy's page of HTML, for instance.
TEST(EventDetailOfAServer, IsCutToABound) {
  std::atomic<bool> refuses = false;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (refuses && request.is("EVALSHA")) return resp::error("MISCONF " + std::string(30'000, 'x'));
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  Diary diary;
  Client client(server.url(), diary.options(less_patient()));
  const Lock lock(client, "job", {.ttl = 3s});
  refuses = true;
  const auto failed = found(diary, EventKind::renewal_failed);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->detail.size(), 1024U);
  refuses = false;
}

class EventOfAQuorum : public QuorumOf<3> {};

TEST_F(EventOfAQuorum, NamesTheServersOfConnectionsAndFailures) {
  Diary diary;
  QuorumOptions options = calm();
  options.client = diary.options(options.client);
  Quorum nodes(urls, options);
  const Redlock lock(nodes, "job", {.ttl = 3s});
  std::vector<std::string> connected;
  EXPECT_TRUE(eventually([&] {
    connected.clear();
    for (const Event& event : diary.events()) {
      if (event.kind != EventKind::connected) continue;
      connected.push_back(event.server);
      EXPECT_EQ("redis://" + event.detail + "/0", event.server);
    }
    return connected.size() == 3;
  }));
  std::vector<std::string> names;
  for (const std::string& url : urls) names.push_back(url + "/0");
  std::sort(names.begin(), names.end());
  std::sort(connected.begin(), connected.end());
  EXPECT_EQ(connected, names);
  EXPECT_EQ(found(diary, EventKind::acquired)->server, "all");
  servers[0]->kill();
  servers[1]->kill();
  const auto failed = found(diary, EventKind::renewal_failed);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->server, "all");
  EXPECT_TRUE(failed->detail.starts_with("redlatch: lock \"job\" on all: 2 of 3 servers have to"))
      << failed->detail;
  EXPECT_NE(failed->detail.find(urls[0]), std::string::npos) << failed->detail;
  EXPECT_NE(failed->detail.find(urls[1]), std::string::npos) << failed->detail;
}

/// The server is away between the end of the hold and its release.
class EventElapsed : public EventDetail {
 protected:
  using Clock = std::chrono::steady_clock;
};

TEST_F(EventElapsed, IsTheHoldWithoutTheOutageBehindIt) {
  const auto before = Clock::now();
  {
    const Lock lock(*client, "job", long_lease);
    server.pause();
  }
  const auto hold = Clock::now() - before;
  EXPECT_TRUE(eventually([&] { return Clock::now() - before > 2 * hold; }));
  server.resume();
  const Event event = told(EventKind::released);
  EXPECT_LE(event.elapsed, hold);
  EXPECT_GT(event.elapsed, 0us);
}

TEST_F(EventElapsed, OfALossIsNotLongerThanTheLease) {
  {
    const Lock lock =
        in_time([&] { return Lock(*client, "job", {.ttl = 100ms, .auto_renew = false}); });
    EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  }
  const Event event = told(EventKind::lost);
  EXPECT_LE(event.elapsed, 100ms);
  EXPECT_GE(event.elapsed, 50ms);
}

TEST_F(EventDetail, CountsSingleAttemptsApartFromWaits) {
  const Lock holder(*client, "job", long_lease);
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(Lock(*client, "job", std::try_to_lock));
  EXPECT_FALSE(Lock(*client, "job", 0s));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Lock(*client, "job", 10ms));
  const Metrics metrics = client->metrics();
  EXPECT_EQ(metrics.contended, 11U);
  EXPECT_EQ(metrics.missed, 8U);
}

/// Why a lock is lost.
template <class Of>
class EveryLockLost : public testing::Test {
 protected:
  static constexpr bool is_of_a_quorum = std::is_same_v<Of, OfAQuorum>;

  auto make(const LockOptions& options) { return Of::make(servers, options); }
  Event told() const { return found(diary, EventKind::lost).value_or(Event{}); }
  void expect_said(const Event& event, const std::string& text) const {
    const std::string where = is_of_a_quorum ? "all" : server.name();
    EXPECT_TRUE(event.detail.starts_with("redlatch: lock \"" + event.key + "\" on " + where + ": "))
        << event.detail;
    EXPECT_NE(event.detail.find(text), std::string::npos) << event.detail;
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Diary diary{};
  Servers servers{server.url(), diary.options({.connect_timeout = 5s, .command_timeout = 1s})};
};
TYPED_TEST_SUITE(EveryLockLost, EveryClass, );

TYPED_TEST(EveryLockLost, SaysThatTheServerDoesNotHaveIt) {
  const auto lock = this->make({.ttl = 1s});
  this->raw.command({"DEL", "job"});
  const Event event = this->told();
  EXPECT_FALSE(event.error);
  this->expect_said(event, "the server does not have this lock any more");
}

TYPED_TEST(EveryLockLost, SaysThatItsReleaseHasFoundAnotherHolder) {
  auto lock = this->make(long_lease);
  this->raw.command({"DEL", "job"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  this->expect_said(this->told(), "the server does not have this lock any more");
}

TYPED_TEST(EveryLockLost, SaysHowTheLastRenewalHasFailed) {
  const auto lock = this->make({.ttl = 1s});
  this->server.kill();
  const Event event = this->told();
  EXPECT_TRUE(event.error == Errc::unreachable || event.error == Errc::no_quorum) << event.error;
  this->expect_said(event, "it was not renewed in time; the last attempt: ");
  EXPECT_TRUE(event.detail.ends_with(": " + event.error.message())) << event.detail;
}

TYPED_TEST(EveryLockLost, SaysThatItIsNotRenewed) {
  const auto lock = in_time([&] { return this->make({.ttl = 100ms, .auto_renew = false}); });
  const Event event = this->told();
  EXPECT_FALSE(event.error);
  this->expect_said(event, "it is not renewed");
}

/// Two objects of one process on one key.
template <class Of>
class EveryLockTwice : public testing::Test {
 protected:
  /// Reading twice is allowed, and so is holding a recursive lock twice.
  template <class... How>
  auto make(How... how) {
    if constexpr (std::is_same_v<Of, OneKey<ReadLock>>) {
      return WriteLock(servers.client, "job", std::move(how)...);
    } else if constexpr (std::is_same_v<Of, OneKey<RecursiveLock>> || std::is_same_v<Of, Owned>) {
      return RecursiveLock(servers.client, "job", Owner{"another"}, std::move(how)...);
    } else {
      return Of::make(servers, std::move(how)...);
    }
  }

  RedisServer server{};
  Diary diary{};
  Servers servers{server.url(), diary.options()};
};
TYPED_TEST_SUITE(EveryLockTwice, EveryClass, );

TYPED_TEST(EveryLockTwice, IsToldWithTheThreadThatHoldsIt) {
  const auto holder = TypeParam::make(this->servers, long_lease);
  ASSERT_TRUE(holder.owns_lock());
  EXPECT_FALSE(this->make(30ms, long_lease).owns_lock());
  const auto event = found(this->diary, EventKind::contended);
  ASSERT_TRUE(event);
  EXPECT_NE(event->detail.find("this process holds the key: thread " + thread_number() +
                               ", which asks for it"),
            std::string::npos)
      << event->detail;
  EXPECT_EQ(event->error, std::errc::resource_deadlock_would_occur);
}

TYPED_TEST(EveryLockTwice, IsToldWithAnotherThreadThatHoldsIt) {
  std::string thread;
  std::optional<typename TypeParam::Class> holder;
  std::thread([&] {
    thread = thread_number();
    holder.emplace(TypeParam::make(this->servers, long_lease));
  }).join();
  EXPECT_FALSE(this->make(std::try_to_lock, long_lease).owns_lock());
  const auto event = found(this->diary, EventKind::contended);
  ASSERT_TRUE(event);
  EXPECT_NE(event->detail.find("this process holds the key: thread " + thread + " has acquired it"),
            std::string::npos)
      << event->detail;
  EXPECT_FALSE(event->error);
}

TEST_F(EventDetail, IsEmptyWhereAnotherProcessHoldsTheKey) {
  raw.command({"SET", "job", "a stranger"});
  const Lock another(*client, "another job", long_lease);
  EXPECT_FALSE(Lock(*client, "job", std::try_to_lock));
  EXPECT_EQ(told(EventKind::contended).detail, "");
}

TEST_F(EventDetail, KnowsAKeyOfSeveral) {
  const MultiLock holder(*client, {"a", "b", "c"}, long_lease);
  EXPECT_FALSE(Lock(*client, "c", std::try_to_lock));
  const Event event = told(EventKind::contended);
  EXPECT_EQ(event.key, "c");
  EXPECT_NE(event.detail.find("thread " + thread_number()), std::string::npos) << event.detail;
}

TEST_F(EventDetail, KnowsSeveralKeysOfWhichOneIsHeld) {
  const Lock holder(*client, "c", long_lease);
  EXPECT_FALSE(MultiLock(*client, {"a", "b", "c"}, std::try_to_lock));
  const Event event = told(EventKind::contended);
  EXPECT_EQ(event.key, "a");
  EXPECT_NE(event.detail.find("thread " + thread_number()), std::string::npos) << event.detail;
}

TEST_F(EventDetail, KnowsNothingOfALockThatWasGivenUp) {
  {
    Lock holder(*client, "job", long_lease);
    EXPECT_EQ(holder.unlock(), Unlock::released);
  }
  raw.command({"SET", "job", "a stranger"});
  EXPECT_FALSE(Lock(*client, "job", std::try_to_lock));
  EXPECT_EQ(told(EventKind::contended).detail, "");
}

/// A lease that goes on to a waiting thread is that thread's.
TEST_F(EventDetail, NamesTheThreadThatALeaseWasHandedOverTo) {
  std::optional<Lock> first(std::in_place, *client, "job", long_lease);
  std::string thread;
  std::atomic<bool> held = false;
  std::atomic<bool> over = false;
  std::thread second([&] {
    thread = thread_number();
    const Lock lock(*client, "job", long_lease);
    held = true;
    EXPECT_TRUE(eventually([&] { return over.load(); }));
  });
  EXPECT_TRUE(eventually([&] { return client->metrics().waiting == 1; }));
  first.reset();
  EXPECT_TRUE(eventually([&] { return held.load(); }));
  EXPECT_FALSE(Lock(*client, "job", std::try_to_lock));
  over = true;
  second.join();
  EXPECT_TRUE(eventually([&] {
    const std::vector<Event> events = diary.events();
    return std::any_of(events.begin(), events.end(), [&](const Event& event) {
      return event.kind == EventKind::contended &&
             event.detail.find("thread " + thread + " has acquired it") != std::string::npos;
    });
  }));
}

/// The bounded wait of a service that takes a lock twice, and whose server goes away meanwhile.
TEST_F(EventDetail, IsInTheLastErrorOfAWaitAsWell) {
  const Lock holder(*client, "job", long_lease);
  Lock second(*client, "job", std::defer_lock, {.ttl = 60s, .ride_out = true});
  server.kill();
  const Error error = thrown_by([&] { static_cast<void>(second.try_lock_for(100ms)); });
  EXPECT_NE(std::string(error.what()).find("this process holds the key: thread " + thread_number()),
            std::string::npos)
      << error.what();
  EXPECT_EQ(error.code(), Errc::unreachable);
}

}  // namespace event_details_test
}  // namespace redlatch::test
