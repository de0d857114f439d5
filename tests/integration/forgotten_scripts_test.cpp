// Releases that nobody waits for, to a server that does not know the script or does not let its
// user run one.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "limited_user.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace {

ClientOptions single() {
  ClientOptions options = patient();
  options.connections = 1;
  return options;
}

class ForgottenScript : public ServerTest {
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

TEST_F(ForgottenScript, IsSentByTheBackgroundWhenNobodyUsesTheClient) {
  {
    const Lock lock(client, "job", long_lease);
    forget();
  }
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  EXPECT_EQ(raw.errors("NOSCRIPT"), 1);
}

TEST_F(ForgottenScript, IsSentBeforeTheClientIsGone) {
  {
    Client own(server.url(), patient());
    const Lock lock(own, "job", long_lease);
    forget();
  }
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(ForgottenScript, DoesNotKeepTheNextAttemptFromTheKey) {
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

TEST_F(ForgottenScript, DoesNotKeepTheNextAttemptsOfManyThreadsFromTheirKeys) {
  use_in_threads(client);
}

TEST_F(ForgottenScript, DoesNotKeepTheNextAttemptsFromTheirKeysOnOneConnection) {
  Client one(server.url(), single());
  use_in_threads(one);
}

TEST_F(ForgottenScript, LeavesTheKeyToAStranger) {
  {
    const Lock lock(client, "job", long_lease);
    forget();
    raw.command({"SET", "job", "a stranger"});
  }
  EXPECT_FALSE(Lock(client, "job", std::try_to_lock, long_lease));
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(ForgottenScript, IsNoReasonToTryAStrangersOtherKeyAgain) {
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
TEST(RefusedRelease, IsNotForgottenWhileAnotherAnswerIsToCome) {
  std::atomic<bool> answering = false;
  std::atomic<bool> released = false;
  std::atomic<int> refusals = 0;
  ScriptedServer server([&](const ScriptedRequest& request) -> std::string {
    if (request.is("EVAL")) {
      if (request.words[3] == "job") released = true;
      return resp::integer(1);
    }
    if (request.is("EVALSHA") && request.words[3] == "slow") return answering ? resp::integer(1) : "";
    if (request.is("EVALSHA")) {
      ++refusals;
      return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    }
    if (request.is("SET") && request.words[1] == "job" && refusals > 0 && !answering) {
      // From here on the server is as quick as any, in the order of what it was asked.
      answering = true;
      return resp::integer(1) + (released ? resp::ok : resp::nil);
    }
    if (request.is("SET") && refusals > 0) return released ? resp::ok : resp::nil;
    return resp::ok;
  });
  Client client(server.url(), single());
  {
    const Lock slow(client, "slow", long_lease);
    const Lock lock(client, "job", long_lease);
  }
  ASSERT_TRUE(eventually([&] { return refusals >= 1 && server.count("EVALSHA") >= 2; }));
  // Long enough for the background to have looked, or else this shows nothing.
  static_cast<void>(eventually([&] { return refusals >= 2; }, 300ms));
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock, long_lease));
}

class RefusedScripts : public LimitedUserTest {
 protected:
  RefusedScripts() {
    allow({"~lock:*", "+set", "+get", "+del", "+pexpire", "+watch", "+multi", "+exec"});
  }
};

TEST_F(RefusedScripts, AreReplacedForTheFirstReleaseOfAConnection) {
  Client worker = user();
  { const Lock lock(worker, "lock:job", long_lease); }
  EXPECT_TRUE(eventually([&] { return !raw.exists("lock:job"); }));
}

TEST_F(RefusedScripts, AreReplacedBeforeTheClientIsGone) {
  {
    Client worker = user();
    const Lock lock(worker, "lock:job", long_lease);
  }
  EXPECT_FALSE(raw.exists("lock:job"));
}

TEST_F(RefusedScripts, DoNotKeepTheNextAttemptFromTheKey) {
  Client worker = user();
  for (int i = 0; i < 100; ++i) {
    const Lock lock(worker, "lock:job", std::try_to_lock, long_lease);
    ASSERT_TRUE(lock.owns_lock()) << i;
  }
}

TEST_F(RefusedScripts, AreReplacedForManyThreadsOnOneConnection) {
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

}  // namespace
}  // namespace redlatch::test
