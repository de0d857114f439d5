// Locks that are lost while they are held, and who is told of it, when, and where.

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "fixture.hpp"

namespace redlatch::test {
namespace loss_notice_test {

const LockOptions brief{.ttl = 1s};

bool is_told(const std::stop_token& token) {
  return eventually([&] { return token.stop_requested(); });
}

class LockLossNotice : public ServerTest {
 protected:
  Lock lock{client, "job", brief};
  const std::stop_token lost = lock.lost_token();
};

TEST_F(LockLossNotice, ComesWhenTheKeyWasDeleted) {
  EXPECT_FALSE(lost.stop_requested());
  raw.command({"DEL", "job"});
  EXPECT_TRUE(is_told(lost));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockLossNotice, ComesWhenTheKeyWasTakenOver) {
  raw.command({"SET", "job", "a stranger", "PX", "50000"});
  EXPECT_TRUE(is_told(lost));
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(LockLossNotice, ComesWhenTheServerForgotEverything) {
  server.kill();
  server.start();
  EXPECT_TRUE(is_told(lost));
}

TEST_F(LockLossNotice, ComesAtOnceWhenVerifyFindsOut) {
  Lock slow(client, "slow", long_lease);
  const std::stop_token slow_lost = slow.lost_token();
  raw.command({"DEL", "slow"});
  EXPECT_FALSE(slow.verify());
  EXPECT_TRUE(is_told(slow_lost));
}

TEST_F(LockLossNotice, ComesAtOnceWhenExtendFindsOut) {
  Lock slow(client, "slow", long_lease);
  const std::stop_token slow_lost = slow.lost_token();
  raw.command({"DEL", "slow"});
  EXPECT_FALSE(slow.extend());
  EXPECT_TRUE(is_told(slow_lost));
}

TEST_F(LockLossNotice, IsNotGivenByARelease) {
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(lost.stop_requested());
  EXPECT_FALSE(lock.lost_token().stop_possible());
}

class LockSilence : public ServerTest {
 protected:
  LockSilence() : ServerTest({.connect_timeout = 20s, .command_timeout = 100ms}) {}
  ~LockSilence() override { server.resume(); }

  /// How long before the end of validity, as the lock itself last said it, the notice came when the
  /// server says nothing any more, and something else has happened then.
  std::chrono::nanoseconds lead(
      const LockOptions& options, const std::function<void()>& then = [] {}) {
    const Lock lock = in_time([&] { return Lock(client, "job", options); });
    std::atomic<std::chrono::steady_clock::time_point> told{};
    std::atomic<std::chrono::steady_clock::time_point> end = lock.expires_at();
    const std::stop_callback note(lock.lost_token(),
                                  [&] { told = std::chrono::steady_clock::now(); });
    server.pause();
    then();
    const auto is_told = [&] {
      if (told.load() != std::chrono::steady_clock::time_point{}) return true;
      const auto valid_until = lock.expires_at();
      if (valid_until != std::chrono::steady_clock::time_point{}) end = valid_until;
      return false;
    };
    EXPECT_TRUE(eventually(is_told, 60s));
    EXPECT_FALSE(lock.owns_lock());
    server.resume();
    return end.load() - told.load();
  }
};

// A twentieth of the ttl before: long enough for the notice to come in time on a busy machine, too.

TEST_F(LockSilence, IsNoticedBeforeTheEndOfValidity) { EXPECT_GT(lead({.ttl = 5s}), 0ns); }

TEST_F(LockSilence, IsNoticedBeforeTheEndOfALeaseThatIsNotRenewed) {
  EXPECT_GT(lead({.ttl = 5s, .auto_renew = false}), 0ns);
}

/// Each of them has the background connect once more.
TEST_F(LockSilence, IsNoticedInTimeWhileReleasesAreOpen) {
  std::list<Lock> others;
  for (int i = 0; i < 8; ++i) others.emplace_back(client, "job " + std::to_string(i), long_lease);
  raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  EXPECT_GT(lead({.ttl = 5s}, [&] { others.clear(); }), 0ns);
}

/// The background is in the middle of that when the time comes.
TEST_F(LockSilence, IsNoticedWhileNoConnectionComesAbout) {
  const Lock lock = in_time([&] { return Lock(client, "job", {.ttl = 1s}); });
  raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  server.pause();
  EXPECT_TRUE(eventually([&] { return lock.lost_token().stop_requested(); }, 5s));
}

/// The same for a release that is still open.
TEST_F(LockSilence, IsNoticedWhileAReleaseWaitsForAConnection) {
  const Lock lock = in_time([&] { return Lock(client, "job", {.ttl = 1s}); });
  std::optional<Lock> other(in_time([&] { return Lock(client, "other", {.ttl = 30s}); }));
  raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  server.pause();
  other.reset();
  EXPECT_TRUE(eventually([&] { return lock.lost_token().stop_requested(); }, 5s));
  server.resume();
}

TEST_F(LockSilence, IsNoticedByEveryLock) {
  std::vector<std::unique_ptr<Lock>> locks;
  for (int i = 0; i < 100; ++i) {
    const std::string key = "job:" + std::to_string(i);
    locks.push_back(
        std::make_unique<Lock>(in_time([&] { return Lock(client, key, {.ttl = 1s}); })));
  }
  server.pause();
  for (const auto& lock : locks) EXPECT_TRUE(is_told(lock->lost_token()));
}

class LockLossCallback : public ServerTest {
 protected:
  /// Runs the action where the loss is told, and waits for it.
  template <class Action>
  void when_lost(const Lock& lock, Action action) {
    std::atomic<bool> done = false;
    const std::stop_callback callback(lock.lost_token(), [&] {
      action();
      done = true;
    });
    raw.command({"DEL", "job"});
    EXPECT_TRUE(eventually([&] { return done.load(); }));
  }
};

TEST_F(LockLossCallback, MayUnlockTheLock) {
  Lock lock(client, "job", brief);
  when_lost(lock, [&] { EXPECT_EQ(lock.unlock(), Unlock::lost); });
}

TEST_F(LockLossCallback, MayTakeTheLockAgain) {
  Lock lock(client, "job", brief);
  when_lost(lock, [&] { lock.lock(); });
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(LockLossCallback, MayTakeAnother) {
  Lock lock(client, "job", brief);
  when_lost(lock, [&] { EXPECT_TRUE(Lock(client, "other", brief)); });
}

TEST_F(LockLossCallback, MayDestroyLockAndClient) {
  auto own = std::make_unique<Client>(server.url(), patient());
  auto lock = std::make_unique<Lock>(*own, "job", brief);
  when_lost(*lock, [&] {
    own.reset();
    lock.reset();
  });
}

TEST_F(LockLossCallback, DoesNotKeepOthersFromTheirCommands) {
  Lock lock(client, "job", brief);
  when_lost(lock, [&] { std::thread([&] { EXPECT_TRUE(Lock(client, "other", brief)); }).join(); });
}

}  // namespace loss_notice_test
}  // namespace redlatch::test
