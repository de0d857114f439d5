// What may be done from within `ClientOptions::on_event`.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "child.hpp"
#include "entries.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace event_callbacks_test {

class ClientFromACallback : public testing::Test {
 protected:
  ~ClientFromACallback() override {
    EXPECT_TRUE(is_over());
    client.reset();
  }

  /// What to do at bad news, `calls_left` times.
  void start(std::function<void(const Event&)> action) {
    ClientOptions options = patient();
    options.connections = 2;
    options.on_event = [this, act = std::move(action)](const Event& event) {
      if (is_bad(event) && calls_left > 0) {
        act(event);
        --calls_left;
      }
    };
    client = std::make_unique<Client>(server.url(), options);
  }
  void lose(const std::string& key = "job") {
    const Lock lock(*client, key, long_lease);
    raw.command({"DEL", key});
  }
  bool is_over() {
    return eventually([&] { return calls_left == 0; });
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  std::atomic<int> calls_left = 1;
  std::unique_ptr<Client> client{};
};

TEST_F(ClientFromACallback, TheSameKeyMayBeLockedAndUnlocked) {
  start([&](const Event& event) {
    Lock lock(*client, event.key, std::try_to_lock, long_lease);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_TRUE(lock.extend());
    EXPECT_TRUE(lock.verify());
    EXPECT_EQ(lock.unlock(), Unlock::released);
  });
  lose();
}

TEST_F(ClientFromACallback, GuardsMayBeginAndEnd) {
  start([&](const Event& event) {
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(Lock(*client, event.key, std::try_to_lock, long_lease));
      EXPECT_TRUE(Lock(*client, event.key + std::to_string(i), std::try_to_lock, long_lease));
    }
  });
  lose();
  EXPECT_TRUE(is_over());
  EXPECT_TRUE(eventually([&] { return raw.command({"DBSIZE"}).integer == 0; }));
}

TEST_F(ClientFromACallback, AnotherLossMayBeCaused) {
  calls_left = 5;
  start([&](const Event& event) {
    const Lock lock(*client, event.key, long_lease);
    RawClient(server.socket()).command({"DEL", event.key});
  });
  lose();
  EXPECT_TRUE(is_over());
}

TEST_F(ClientFromACallback, ALockThatWasHeldMeanwhileMayBeGivenUp) {
  std::optional<Lock> held;
  start([&](const Event&) { held.reset(); });
  held.emplace(*client, "held", long_lease);
  lose();
  EXPECT_TRUE(is_over());
  EXPECT_TRUE(eventually([&] { return !raw.exists("held"); }));
}

TEST_F(ClientFromACallback, OneMayWaitForAnotherThreadThatUsesTheClient) {
  start([&](const Event& event) {
    std::thread([&] {
      const Lock lock(*client, event.key, long_lease);
      client->ping();
    }).join();
  });
  lose();
}

TEST_F(ClientFromACallback, TheClientMayBeEndedAndLeavesNothing) {
  std::thread([] {}).join();  // a sanitizer may start a thread of its own with the first
  const auto descriptors = entries("/proc/self/fd");
  const auto threads = entries("/proc/self/task");
  start([&](const Event&) { client.reset(); });
  lose();
  EXPECT_TRUE(is_over());
  EXPECT_TRUE(eventually([&] { return entries("/proc/self/task") == threads; }));
  EXPECT_EQ(entries("/proc/self/fd"), descriptors);
}

/// Ends a forked child together with its only thread, whatever a sanitizer would say of what the
/// other threads have left there.
struct EndsProcess {
  bool is_armed = false;
  ~EndsProcess() {
    if (is_armed) ::_exit(0);
  }
};

class ClientForkFromACallback : public ClientFromACallback {
 protected:
  /// Does that in the child, and goes back from the callback in both processes.
  void fork_and(const std::function<void()>& action) {
    child = ::fork();
    if (child != 0) return;
    thread_local EndsProcess with_thread;
    with_thread.is_armed = true;
    action();
  }

  std::atomic<pid_t> child = -1;
};

TEST_F(ClientForkFromACallback, ItsChildMayEndItsCopyOfTheClient) {
  start([&](const Event&) { fork_and([&] { client.reset(); }); });
  lose();
  ASSERT_TRUE(is_over());
  EXPECT_EQ(status_of(child), 0);
  EXPECT_TRUE(Lock(*client, "job", std::try_to_lock, long_lease)) << "the parent goes on";
}

TEST_F(ClientForkFromACallback, ItsChildEndsWithTheThread) {
  start([&](const Event&) { fork_and([] {}); });
  lose();
  ASSERT_TRUE(is_over());
  EXPECT_EQ(status_of(child), 0);
}

TEST_F(ClientFromACallback, TheLastLockMayBeEndedBehindItsClient) {
  std::thread([] {}).join();  // as above
  const auto threads = entries("/proc/self/task");
  std::optional<Lock> last;
  start([&](const Event&) { last.reset(); });
  last.emplace(*client, "last", long_lease);
  lose();
  client.reset();
  EXPECT_TRUE(is_over());
  EXPECT_TRUE(eventually([&] { return entries("/proc/self/task") == threads; }));
  EXPECT_FALSE(raw.exists("last"));
}

TEST_F(ClientFromACallback, AnotherClientMayTakeThePlaceOfTheOldOne) {
  start([&](const Event& event) {
    *client = Client(server.url(), patient());
    EXPECT_TRUE(Lock(*client, event.key, std::try_to_lock, long_lease));
  });
  lose();
}

TEST_F(ClientFromACallback, NoOtherCallIsMadeMeanwhile) {
  constexpr int threads = 8;
  constexpr int rounds = 10;
  calls_left = threads * rounds;
  std::atomic<int> inside = 0;
  start([&](const Event& event) {
    EXPECT_EQ(++inside, 1);
    const Lock lock(*client, "another " + event.key, long_lease);
    --inside;
  });
  {
    std::vector<std::jthread> losers;
    for (int i = 0; i < threads; ++i) {
      losers.emplace_back([&, key = "job:" + std::to_string(i)] {
        RawClient stranger(server.socket());
        for (int round = 0; round < rounds; ++round) {
          const Lock lock(*client, key, long_lease);
          stranger.command({"DEL", key});
        }
      });
    }
  }
  EXPECT_TRUE(is_over());
}

/// The client that goes has more to tell: of a release that is not answered.
TEST(ClientCallbackThatEndsIt, IsNotCalledAgainBeforeItReturns) {
  const ScriptedServer server([](const ScriptedRequest& request) -> std::string {
    if (!request.is("EVALSHA")) return resp::ok;
    return request.words[3] == "lost" ? resp::integer(0) : "";
  });
  std::atomic<int> inside = 0;
  std::atomic<int> calls = 0;
  std::optional<Client> client;
  ClientOptions options{.connect_timeout = 20s, .command_timeout = 1s, .connections = 1};
  options.on_event = [&](const Event& event) {
    if (!is_bad(event)) return;
    EXPECT_EQ(++inside, 1);
    client.reset();
    --inside;
    ++calls;
  };
  client.emplace(server.url(), options);
  {
    const Lock unanswered(*client, "unanswered", long_lease);
    const Lock lost(*client, "lost", long_lease);
  }
  EXPECT_TRUE(eventually([&] { return calls == 2; }));
}

/// It stands still until the lease has been renewed beyond its first ttl.
TEST_F(ClientFromACallback, RenewalsAreNotWaitedFor) {
  bool renewed = false;
  start([&](const Event&) {
    raw.command({"CONFIG", "RESETSTAT"});
    renewed = eventually([&] { return raw.calls("pexpire") >= 4; });
  });
  const Lock held(*client, "held", {.ttl = 2s});
  lose();
  EXPECT_TRUE(is_over());
  EXPECT_TRUE(renewed);
  EXPECT_TRUE(held.owns_lock());
}

/// The first call keeps the others queued, and the second ends the client in front of them.
TEST_F(ClientFromACallback, TheClientMayBeEndedWhileMoreEventsAreQueued) {
  std::thread([] {}).join();  // as above
  const auto threads = entries("/proc/self/task");
  std::atomic<int> calls = 0;
  std::atomic<bool> queued = false;
  ClientOptions options = patient();
  options.on_event = [&](const Event&) {
    const int call = ++calls;
    if (call == 1) eventually([&] { return queued.load(); });
    if (call == 2) client.reset();
  };
  client = std::make_unique<Client>(server.url(), options);
  for (int i = 0; i < 3; ++i) {
    Lock lock(*client, "job", long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
  queued = true;
  EXPECT_TRUE(eventually([&] { return entries("/proc/self/task") == threads; }));
  EXPECT_EQ(calls, 7) << "what is queued is told all the same";
  calls_left = 0;
}

/// The same from the callback of a `lost_token`, with events queued behind the loss.
TEST_F(ClientFromACallback, TheClientMayBeEndedByTheCallbackOfALoss) {
  std::thread([] {}).join();  // as above
  const auto threads = entries("/proc/self/task");
  std::atomic<int> calls = 0;
  std::atomic<bool> lost = false;
  ClientOptions options = patient();
  options.on_event = [&](const Event&) {
    if (++calls == 1) eventually([&] { return lost.load(); });
  };
  client = std::make_unique<Client>(server.url(), options);
  std::vector<Lock> held;
  for (const std::string key : {"a", "b", "c"}) {
    held.emplace_back(*client, key, LockOptions{.ttl = 1s, .auto_renew = false});
  }
  std::atomic<bool> ended = false;
  const auto end_client = [&] {
    held.clear();
    client.reset();
    ended = true;
  };
  std::vector<std::stop_token> tokens;
  for (const Lock& lock : held) tokens.push_back(lock.lost_token());
  const std::stop_callback end(tokens.front(), end_client);
  EXPECT_TRUE(eventually([&] {
    return std::none_of(held.begin(), held.end(), [](const Lock& one) { return one.owns_lock(); });
  }));
  lost = true;
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  EXPECT_TRUE(eventually([&] { return entries("/proc/self/task") == threads; }));
  EXPECT_GE(calls, 5) << "connected, three times acquired, lost";
  calls_left = 0;
}

/// What its servers' own clients tell goes through the thread that calls back.
TEST(QuorumCallback, MayEndItWhileMoreEventsAreQueued) {
  std::thread([] {}).join();  // as above
  const auto threads = entries("/proc/self/task");
  const RedisServer one;
  const RedisServer two;
  const RedisServer three;
  std::atomic<int> calls = 0;
  std::atomic<bool> queued = false;
  std::optional<Quorum> nodes;
  ClientOptions options = patient();
  options.on_event = [&](const Event&) {
    const int call = ++calls;
    if (call == 1) eventually([&] { return queued.load(); });
    if (call == 2) nodes.reset();
  };
  nodes.emplace(std::vector{one.url(), two.url(), three.url()},
                QuorumOptions{.client = options, .server_timeout = 10s});
  for (int i = 0; i < 3; ++i) const Redlock lock(*nodes, "job", long_lease);
  queued = true;
  EXPECT_TRUE(eventually([&] { return entries("/proc/self/task") == threads; }));
  EXPECT_GE(calls, 9) << "connected, acquired and released, three times each";
}

/// A program that is slower than its events: what is held is looked after all the same. Each of
/// the first calls outlasts a renewal, six of them two ttls.
TEST(ClientCallbackThatIsSlow, DoesNotKeepLocksFromBeingRenewed) {
  const RedisServer server;
  RawClient raw(server.socket());
  std::atomic<int> told = 0;
  std::atomic<int> outlasted = 0;
  ClientOptions options = patient();
  options.on_event = [&](const Event& event) {
    ++told;
    if (event.key != "job" || outlasted == 6) return;
    const std::int64_t before = raw.calls("pexpire");
    if (eventually([&] { return raw.calls("pexpire") > before; })) ++outlasted;
  };
  Client client(server.url(), options);
  const Lock held(client, "held", {.ttl = 2s});
  for (int i = 0; i < 100; ++i) {
    Lock lock(client, "job", long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
  EXPECT_TRUE(eventually([&] { return told >= 200; }, 60s));
  EXPECT_EQ(outlasted, 6);
  EXPECT_TRUE(held.owns_lock());
}

TEST(ClientCallbackThatLocks, DoesNotFeedItselfWithEventsForEver) {
  const RedisServer server;
  std::atomic<bool> enough = false;
  std::atomic<bool> inside = false;
  std::optional<Client> client;
  ClientOptions options = patient();
  options.on_event = [&](const Event&) {
    inside = true;
    if (!enough) const Lock lock(*client, "job", long_lease);
    inside = false;
  };
  client.emplace(server.url(), options);
  Lock held(*client, "held", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return client->metrics().renewed >= 3; }));
  EXPECT_TRUE(held.owns_lock());
  enough = true;
  EXPECT_TRUE(eventually([&] { return !inside; })) << "or it would be the last of its client";
}

/// The end of a client that begins while something else is told waits for answers all the same.
TEST(ClientCallbackDuringItsEnd, DoesNotCutItShort) {
  const ScriptedServer server([](const ScriptedRequest& request) -> std::string {
    return request.is("EVALSHA") ? "" : resp::ok;
  });
  const pid_t main_thread = ::gettid();
  std::atomic<bool> ending = false;
  std::atomic<bool> told = false;
  ClientOptions options{.connect_timeout = 20s, .command_timeout = 1s, .connections = 1};
  options.on_event = [&](const Event& event) {
    if (event.kind == EventKind::acquired)
      eventually([&] { return ending && sleeps(main_thread); });
    if (event.kind == EventKind::release_unknown) told = true;
  };
  std::optional<Client> client(std::in_place, server.url(), options);
  { const Lock lock(*client, "job", long_lease); }
  ending = true;
  client.reset();
  EXPECT_TRUE(told);
}

/// No event, and nothing that can be read from one, has the right to release a lock in it.
TEST_F(ClientFromACallback, NoTokenIsTold) {
  std::mutex mutex;
  std::vector<std::string> told;
  start([&](const Event& event) {
    const std::lock_guard guard(mutex);
    told.push_back(event.key + event.error.message() + event.error.category().name());
  });
  std::string token;
  {
    const Lock lock(*client, "job", long_lease);
    token = lock.token();
    raw.command({"DEL", "job"});
  }
  EXPECT_TRUE(is_over());
  const std::lock_guard guard(mutex);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told.front().find(token), std::string::npos);
}

}  // namespace event_callbacks_test
}  // namespace redlatch::test
