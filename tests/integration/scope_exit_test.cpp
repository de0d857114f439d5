// What the end of a guard's scope sends, and that it waits for nothing.

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace scope_exit_test {

const std::string silence;

std::string silent_to_releases(const ScriptedRequest& request) {
  return request.is("EVALSHA") ? silence : resp::ok;
}

TEST(LockScopeExit, DoesNotWaitForTheAnswerToTheRelease) {
  ScriptedServer server(silent_to_releases);
  Client client(server.url(), patient());
  std::optional<Lock> lock(std::in_place, client, "job", long_lease);
  EXPECT_LT(duration_of([&] { lock.reset(); }), patient().command_timeout / 2);
  EXPECT_TRUE(eventually([&] { return server.count("EVALSHA") == 1; }));
  server.say(1, resp::integer(1));
}

TEST(LockScopeExit, DoesNotWaitForTheAnswersOfOthersEither) {
  ScriptedServer server([](const ScriptedRequest& request) {
    if (request.is("EVALSHA")) return resp::integer(1);
    return request.is("GETRANGE") ? silence : resp::ok;
  });
  ClientOptions options = patient();
  options.connections = 1;
  Client client(server.url(), options);
  std::optional<Lock> lock(std::in_place, client, "job", long_lease);
  Lock other(client, "another job", long_lease);
  const std::jthread asker([&] { EXPECT_FALSE(other.verify()); });
  ASSERT_TRUE(eventually([&] { return server.count("GETRANGE") == 1; }));
  EXPECT_LT(duration_of([&] { lock.reset(); }), patient().command_timeout / 2);
  server.say(1, resp::nil);
  EXPECT_TRUE(eventually([&] { return server.count("EVALSHA") == 1; }));
}

TEST(LockScopeExit, PutsTheReleaseInFrontOfTheNextAcquisition) {
  const ScriptedServer server([](const ScriptedRequest& request) {
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  Client client(server.url(), patient());
  { const Lock lock(client, "job", long_lease); }
  Lock again(client, "job", long_lease);
  EXPECT_EQ(again.unlock(), Unlock::released);
  std::vector<std::string> names;
  for (const ScriptedRequest& request : server.requests()) {
    if (!request.is("SCRIPT")) names.push_back(request.name());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"SET", "EVALSHA", "SET", "EVALSHA"}));
  EXPECT_EQ(server.connections(), 1U);
}

TEST(LockScopeExit, LeavesTheLastOfAClientToWaitForASilentServerOnce) {
  constexpr auto command_timeout = 3s;
  const ScriptedServer server(silent_to_releases);
  auto client = std::make_unique<Client>(
      server.url(), ClientOptions{.connect_timeout = 60s, .command_timeout = command_timeout});
  { const Lock lock(*client, "job", long_lease); }
  EXPECT_LT(duration_of([&] { client.reset(); }), command_timeout + 2500ms);
}

TEST(LockScopeExit, LeavesTheLastOfAClientToWaitOnceForAllOfItsSilentConnections) {
  constexpr auto command_timeout = 3s;
  const ScriptedServer server(silent_to_releases);
  auto client = std::make_unique<Client>(
      server.url(), ClientOptions{.connect_timeout = 60s, .command_timeout = command_timeout});
  {
    std::vector<Lock> locks;
    for (int i = 0; i < 40; ++i)
      locks.emplace_back(*client, "job:" + std::to_string(i), long_lease);
  }
  ASSERT_GT(server.connections(), 1U);
  EXPECT_LT(duration_of([&] { client.reset(); }), command_timeout + 2500ms);
}

class EveryLockScopeExit : public ServerTest {
 protected:
  std::string key_of(int i) const { return "job:" + std::to_string(i); }
  bool is_empty() {
    return eventually([&] { return raw.command({"DBSIZE"}).integer == 0; });
  }
};

TEST_F(EveryLockScopeExit, AnAssignedLockReleasesWhatItHeldBefore) {
  Lock lock(client, "job:1", long_lease);
  lock = Lock(client, "job:2", long_lease);
  EXPECT_TRUE(eventually([&] { return !raw.exists("job:1"); }));
  EXPECT_EQ(raw.get("job:2"), lock.token());
}

TEST_F(EveryLockScopeExit, AMovedLockReleasesOnce) {
  {
    Lock lock(client, "job", long_lease);
    std::vector<Lock> locks;
    locks.push_back(std::move(lock));
    locks.push_back(Lock(client, "another job", long_lease));
    EXPECT_EQ(raw.command({"DBSIZE"}).integer, 2);
  }
  client.ping();
  EXPECT_TRUE(is_empty());
  EXPECT_EQ(raw.calls("evalsha"), 2);
}

TEST_F(EveryLockScopeExit, ALockThatIsAssignedItsOwnKeyLeavesTheNewLease) {
  Lock lock(client, "job", long_lease);
  for (int i = 0; i < 100; ++i) {
    lock = Lock(client, "job", std::defer_lock, long_lease);
    ASSERT_TRUE(lock.try_lock());
  }
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(raw.get("job"), lock.token());
}

TEST_F(EveryLockScopeExit, AThreadThatEndsAtOnceIsDone) {
  for (int i = 0; i < 200; ++i) {
    std::thread([&] { const Lock lock(client, key_of(i), long_lease); }).join();
  }
  EXPECT_TRUE(is_empty());
}

TEST_F(EveryLockScopeExit, ManyThreadsThatEndAtOnceIsDone) {
  for (int round = 0; round < 10; ++round) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 32; ++i) {
      threads.emplace_back([&, i] { const Lock lock(client, key_of(i), long_lease); });
    }
  }
  EXPECT_TRUE(is_empty());
}

TEST_F(EveryLockScopeExit, AnotherThreadThanTheOneThatTookItIsDone) {
  for (int i = 0; i < 100; ++i) {
    auto lock = std::make_unique<Lock>(client, "job", std::try_to_lock, long_lease);
    ASSERT_TRUE(lock->owns_lock());
    std::thread([gone = std::move(lock)]() mutable { gone.reset(); }).join();
  }
  EXPECT_TRUE(is_empty());
}

TEST_F(EveryLockScopeExit, AClientThatGoesRightAfterwardsIsDoneByThen) {
  for (int i = 0; i < 1000; ++i) {
    {
      Client own(server.unix_url(), patient());
      const Lock lock(own, "job", std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock());
    }
    ASSERT_FALSE(raw.exists("job")) << i;
  }
}

TEST_F(EveryLockScopeExit, AClientThatGoesBeforeItsLastLockIsDoneByThen) {
  for (int i = 0; i < 1000; ++i) {
    {
      std::optional<Client> own(std::in_place, server.unix_url(), patient());
      const Lock lock(*own, "job", std::try_to_lock, long_lease);
      own.reset();
      ASSERT_TRUE(lock.owns_lock());
    }
    ASSERT_FALSE(raw.exists("job")) << i;
  }
}

TEST_F(EveryLockScopeExit, AConnectionThatIsKilledRightAfterwardsIsDone) {
  // What may be overtaken on a broken connection is asked for again after this time-out.
  Client hasty(server.url(), {.connect_timeout = 20s, .command_timeout = 1s});
  for (int i = 0; i < 1000; ++i) {
    // What the kill has met on its way is an error of this attempt, and taken back.
    static_cast<void>(error_of([&] { const Lock lock(hasty, key_of(i), long_lease); }));
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  }
  EXPECT_TRUE(is_empty()) << raw.command({"DBSIZE"}).integer;
}

TEST_F(EveryLockScopeExit, AConnectionThatWasKilledJustBeforeIsDone) {
  // What may be overtaken on a broken connection is asked for again after this time-out.
  Client hasty(server.url(), {.connect_timeout = 20s, .command_timeout = 1s});
  for (int i = 0; i < 1000; ++i) {
    std::optional<Lock> lock;
    ASSERT_TRUE(
        eventually([&] { return !error_of([&] { lock.emplace(hasty, key_of(i), long_lease); }); }));
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  }
  EXPECT_TRUE(is_empty()) << raw.command({"DBSIZE"}).integer;
}

TEST_F(EveryLockScopeExit, AServerThatStopsIsDoneOnceItGoesOn) {
  Client hasty(server.url(), {.connect_timeout = 1s, .command_timeout = 500ms});
  std::vector<Lock> locks;
  for (int i = 0; i < 1000; ++i) {
    locks.emplace_back(hasty, key_of(i), std::defer_lock, long_lease);
    ASSERT_TRUE(eventually([&] { return !error_of([&] { locks.back().lock(); }); }));
  }
  server.pause();
  locks.clear();
  // By now the connection has been left for another one, on which the server does not answer
  // either.
  EXPECT_TRUE(eventually([&] { return error_of([&] { hasty.ping(); }) == Errc::unreachable; }));
  server.resume();
  EXPECT_TRUE(is_empty()) << raw.command({"DBSIZE"}).integer;
}

TEST_F(EveryLockScopeExit, AServerThatComesBackEmptyEndsQuietly) {
  {
    const Lock lock(client, "job", long_lease);
    server.kill();
  }
  server.start();
  Lock again(client, "job", std::defer_lock, long_lease);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { again.lock(); }); }));
  EXPECT_EQ(RawClient(server.socket()).get("job"), again.token());
}

}  // namespace scope_exit_test
}  // namespace redlatch::test
