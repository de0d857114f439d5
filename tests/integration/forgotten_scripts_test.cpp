// Releases that no thread waits for, to a server that does not know the script or does not let its
// user run one.

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "limited_user.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace forgotten_scripts_test {

class ClientForgottenScript : public ServerTest {
 protected:
  void forget() { raw.command({"SCRIPT", "FLUSH"}); }

  /// Every guard's end is followed at once by the next acquisition of its key.
  void use_in_threads(Client& of) {
    std::atomic<int> running = 8;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        for (int round = 0; round < 200; ++round) {
          const Lock lock(of, "job:" + std::to_string(i), std::try_to_lock, long_lease);
          EXPECT_TRUE(lock.owns_lock()) << "thread " << i << " in round " << round;
        }
        --running;
      });
    }
    while (running > 0) forget();
    threads.clear();
    EXPECT_TRUE(eventually([&] { return raw.command({"DBSIZE"}).integer == 0; }));
    EXPECT_GE(raw.errors("NOSCRIPT"), 1);
  }
};

TEST_F(ClientForgottenScript, IsSentByTheBackgroundWhenNobodyUsesTheClient) {
  {
    const Lock lock(client, "job", long_lease);
    forget();
  }
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  EXPECT_EQ(raw.errors("NOSCRIPT"), 1);
}

/// A text for each would be a round trip for each.
TEST_F(ClientForgottenScript, IsSentOnceForManyRenewals) {
  Client one(server.url(), single());
  std::vector<Lock> held;
  for (int i = 0; i < 200; ++i) {
    held.emplace_back(one, "job:" + std::to_string(i), LockOptions{.ttl = 6s});
  }
  forget();
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return one.metrics().renewed >= 200; }));
  EXPECT_GE(raw.errors("NOSCRIPT"), 1);
  EXPECT_LE(raw.calls("eval"), 3);
  for (const Lock& lock : held) EXPECT_TRUE(lock.owns_lock());
}

/// Those of several kinds keep their order, and each kind's text is sent once.
TEST_F(ClientForgottenScript, IsSentOnceForEachKindOfLock) {
  Client one(server.url(), single());
  std::vector<Lock> locks;
  std::vector<ReadLock> readers;
  for (int i = 0; i < 100; ++i) {
    locks.emplace_back(one, "job:" + std::to_string(i), LockOptions{.ttl = 6s});
    readers.emplace_back(one, "page:" + std::to_string(i), LockOptions{.ttl = 6s});
  }
  forget();
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return one.metrics().renewed >= 200; }));
  EXPECT_GE(raw.errors("NOSCRIPT"), 1);
  EXPECT_EQ(raw.calls("eval"), 2);
}

/// A server that forgets whatever it is told (its scripts are flushed again and again) is told each
/// text, and never the same hash for ever.
TEST(ClientScriptThatIsForgottenAtOnce, IsSentForEachRelease) {
  ScriptedServer server([&](const ScriptedRequest& request) -> std::string {
    if (request.is("EVALSHA")) return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    return request.is("EVAL") ? resp::integer(1) : resp::ok;
  });
  Client one(server.url(), single());
  {
    std::vector<Lock> held;
    for (int i = 0; i < 20; ++i) held.emplace_back(one, "job:" + std::to_string(i), long_lease);
  }
  EXPECT_TRUE(eventually([&] { return one.metrics().released == 20; }));
  EXPECT_LE(server.count("EVALSHA"), 40U);
}

TEST_F(ClientForgottenScript, IsSentBeforeTheClientIsGone) {
  {
    Client own(server.url(), patient());
    const Lock lock(own, "job", long_lease);
    forget();
  }
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(ClientForgottenScript, DoesNotKeepTheNextAttemptFromTheKey) {
  for (int i = 0; i < 200; ++i) {
    {
      const Lock lock(client, "job", std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock()) << i;
      forget();
    }
    Lock again(client, "job", std::defer_lock, long_lease);
    ASSERT_TRUE(again.try_lock()) << i;
    ASSERT_EQ(raw.get("job"), again.token());
  }
}

TEST_F(ClientForgottenScript, DoesNotKeepTheNextAttemptsOfManyThreadsFromTheirKeys) {
  use_in_threads(client);
}

TEST_F(ClientForgottenScript, DoesNotKeepTheNextAttemptsFromTheirKeysOnOneConnection) {
  Client one(server.url(), single());
  use_in_threads(one);
}

TEST_F(ClientForgottenScript, LeavesTheKeyToAStranger) {
  {
    const Lock lock(client, "job", long_lease);
    forget();
    raw.command({"SET", "job", "a stranger"});
  }
  EXPECT_FALSE(Lock(client, "job", std::try_to_lock, long_lease));
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(ClientForgottenScript, IsNoReasonToTryAStrangersOtherKeyAgain) {
  raw.command({"SET", "another job", "a stranger"});
  raw.command({"CONFIG", "RESETSTAT"});
  Client one(server.url(), single());
  {
    const Lock lock(one, "job", long_lease);
    forget();
  }
  EXPECT_FALSE(Lock(one, "another job", std::try_to_lock, long_lease));
  EXPECT_EQ(raw.calls("set"), 2);
}

/// The refused release waits for the answer to a second one, behind it on the same connection. The
/// background comes to look meanwhile.
TEST(LockRefusedRelease, IsNotForgottenWhileAnotherAnswerIsToCome) {
  std::atomic<int> refusals = 0;
  bool released = false;
  bool slow = false;
  std::string held_back;
  ScriptedServer server([&](const ScriptedRequest& request) -> std::string {
    const std::string& key = request.words[request.is("SET") ? 1 : 3];
    std::string answer = resp::ok;
    if (request.is("EVALSHA") && key == "job") {
      ++refusals;
      answer = resp::error("NOSCRIPT No matching script. Please use EVAL.");
    } else if (request.is("EVAL") || request.is("EVALSHA")) {
      if (key == "job") released = true;
      if (key == "slow") slow = true;
      answer = resp::integer(1);
    } else if (request.is("SET") && refusals > 0 && !released) {
      answer = resp::nil;
    }
    held_back += answer;
    return slow ? "" : std::exchange(held_back, {});
  });
  Client client(server.url(), single());
  {
    const Lock slow_one(client, "slow", long_lease);
    const Lock lock(client, "job", long_lease);
  }
  ASSERT_TRUE(eventually([&] { return refusals == 1; }));
  // Time for the background to look at the refusal, which it has to leave where it is.
  EXPECT_FALSE(eventually([&] { return refusals > 1; }, 300ms));
  {
    const auto held = server.hold();
    slow = false;
    server.say(1, std::exchange(held_back, {}));
  }
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock, long_lease));
}

class ClientRefusedScripts : public LimitedUserTest {
 protected:
  ClientRefusedScripts() {
    allow({"~lock:*", "+set", "+getrange", "+exists", "+del", "+pexpire", "+watch", "+multi",
           "+exec"});
  }
};

TEST_F(ClientRefusedScripts, AreReplacedForTheFirstReleaseOfAConnection) {
  Client worker = user();
  { const Lock lock(worker, "lock:job", long_lease); }
  EXPECT_TRUE(eventually([&] { return !raw.exists("lock:job"); }));
}

TEST_F(ClientRefusedScripts, AreReplacedBeforeTheClientIsGone) {
  {
    Client worker = user();
    const Lock lock(worker, "lock:job", long_lease);
  }
  EXPECT_FALSE(raw.exists("lock:job"));
}

TEST_F(ClientRefusedScripts, DoNotKeepTheNextAttemptFromTheKey) {
  Client worker = user();
  for (int i = 0; i < 100; ++i) {
    const Lock lock(worker, "lock:job", std::try_to_lock, long_lease);
    ASSERT_TRUE(lock.owns_lock()) << i;
  }
}

TEST_F(ClientRefusedScripts, AreReplacedForManyThreadsOnOneConnection) {
  for (int round = 0; round < 20; ++round) {
    Client worker = user(single());
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, key = "lock:job:" + std::to_string(i)] {
        for (int cycle = 0; cycle < 5; ++cycle) {
          const Lock lock(worker, key, std::try_to_lock, long_lease);
          EXPECT_TRUE(lock.owns_lock());
        }
      });
    }
  }
  EXPECT_EQ(raw.command({"DBSIZE"}).integer, 0);
}

}  // namespace forgotten_scripts_test
}  // namespace redlatch::test
