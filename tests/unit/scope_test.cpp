#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace scope_test {

TEST(LockScope, ReleasesAtItsEnd) {
  const Fake executor = fake();
  std::string token;
  {
    const TestLock lock = held_on(executor, {.ttl = 4s});
    token = lock.token();
  }
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].key, "job");
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + token);
  EXPECT_EQ(executor->posted[0].ttl, 4s);
  EXPECT_EQ(executor->posted[0].of, detail::CleanupRelease::Reason::lease);
}

TEST(LockScope, WaitsForNoAnswerAtItsEnd) {
  const Fake executor = fake();
  { const TestLock lock = held_on(executor); }
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockScope, CallsTheFirstThatWaitsInItsProcess) {
  const Fake executor = fake();
  { const TestLock lock = held_on(executor); }
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->called_after.size(), 1U);
}

TEST(LockScope, EndsQuietlyWhenMemoryRunsOut) {
  const Fake executor = fake();
  {
    const TestLock lock = held_on(executor);
    executor->will(out_of_memory());
  }
  EXPECT_EQ(executor->posted.size(), 1U);
}

/// Handed over so that the executor outlives its last user here, and can be looked at.
Fake unowned(const Fake& executor) {
  return {executor.get(), [](FakeExecutor*) {}};
}

TEST(LockScope, LeavesTheReleaseToTheEndOfAnExecutorThatNobodyElseUses) {
  const Fake executor = fake(says(ok()));
  std::string token;
  {
    TestLock lock(unowned(executor), protocol::Exclusive("job"), {.ttl = 4s});
    EXPECT_TRUE(lock.try_lock());
    token = lock.token();
  }
  EXPECT_EQ(executor->calls.size(), 1U);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + token);
  EXPECT_EQ(executor->posted[0].ttl, 4s);
}

TEST(LockScope, HasUnlockAskAlsoWhenNobodyElseUsesTheExecutor) {
  const Fake executor = fake(says(ok()));
  TestLock lock(unowned(executor), protocol::Exclusive("job"), {});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockScope, StillReleasesWhatHasExpired) {
  const Fake executor = fake();
  {
    const TestLock lock = held_on(executor, {.ttl = 1s});
    executor->advance(1min);
  }
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("RELEASE job "));
  EXPECT_EQ(executor->posted[0].of, detail::CleanupRelease::Reason::ended_lease);
}

TEST(LockScope, SendsNothingAfterUnlock) {
  const Fake executor = fake();
  {
    TestLock lock = held_on(executor);
    lock.unlock();
  }
  EXPECT_EQ(executor->calls.size(), 2U);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockMove, CarriesPossessionAlong) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const std::string token = lock.token();
  const TestLock other = std::move(lock);
  EXPECT_TRUE(other.owns_lock());
  EXPECT_EQ(other.token(), token);
  EXPECT_EQ(other.key(), "job");
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockMove, LeavesNothingBehind) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const TestLock other = std::move(lock);
  // NOLINTBEGIN(bugprone-use-after-move): it is what is tested
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.token(), "");
  EXPECT_EQ(lock.remaining(), 0ms);
  EXPECT_EQ(lock.expires_at(), std::chrono::steady_clock::time_point{});
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  // NOLINTEND(bugprone-use-after-move)
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockMove, ReleasesOnceInAll) {
  const Fake executor = fake();
  {
    TestLock lock = held_on(executor);
    const TestLock other = std::move(lock);
  }
  EXPECT_EQ(executor->posted.size(), 1U);
}

TEST(LockMove, ReleasesWhatIsAssignedOver) {
  const Fake executor = fake();
  TestLock first = held_on(executor);
  const std::string token = first.token();
  TestLock second = held_on(executor);
  const std::string kept = second.token();
  first = std::move(second);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + token);
  EXPECT_EQ(first.token(), kept);
}

TEST(LockMove, LeavesALockAloneThatIsAssignedToItself) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  TestLock& same = lock;
  lock = std::move(same);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockMove, TakesTheKeyAndTheOptionsAlong) {
  const Fake executor = fake();
  const Fake another = fake();
  TestLock first = lock_on(executor);
  first = TestLock(another, protocol::Exclusive("a key that is longer than a small string"),
                   {.ttl = 77ms});
  another->will(says(ok()));
  EXPECT_TRUE(first.try_lock());
  EXPECT_EQ(another->said()[0],
            "SET a key that is longer than a small string " + first.token() + " NX PX 77");
  EXPECT_TRUE(executor->calls.empty());
}

TEST(LockMove, GivesAMovedFromLockItsUseBackByAssignment) {
  const Fake executor = fake();
  TestLock lock = lock_on(executor);
  { const TestLock gone = std::move(lock); }
  lock = lock_on(executor);
  executor->will(says(ok()));
  EXPECT_TRUE(lock.try_lock());
}

TEST(LockFork, LeavesTheChildWithoutPossession) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->fork();
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.token(), "");
  EXPECT_EQ(lock.remaining(), 0ms);
  EXPECT_EQ(lock.expires_at(), std::chrono::steady_clock::time_point{});
}

TEST(LockFork, HasTheChildSendNothing) {
  const Fake executor = fake();
  {
    TestLock lock = held_on(executor);
    executor->fork();
    EXPECT_FALSE(lock.extend());
    EXPECT_FALSE(lock.verify());
    EXPECT_EQ(lock.unlock(), Unlock::lost);
  }
  EXPECT_EQ(executor->calls.size(), 1U);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockFork, HasTheChildsScopeSendNothing) {
  const Fake executor = fake();
  {
    const TestLock lock = held_on(executor);
    executor->fork();
  }
  EXPECT_EQ(executor->calls.size(), 1U);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockFork, LetsTheChildTakeTheLockForItself) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->fork();
  executor->will(says(nil()));
  EXPECT_FALSE(lock.try_lock());
  executor->will(says(ok()));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(executor->calls.size(), 3U);
  EXPECT_TRUE(lock.owns_lock());
}

}  // namespace scope_test
}  // namespace redlatch::test
