#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <numeric>
#include <set>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace wait_test {

using Clock = std::chrono::steady_clock;

/// "Held by another", as often as the lock asks.
void contend(const Fake& executor, int times, std::int64_t life = -1) {
  executor->will(says(nil()));
  for (int i = 1; i < times; ++i) {
    executor->will(says(nil(), integer(life), status("string")));
  }
}

TimePoint::duration waited(const Fake& executor) {
  return std::accumulate(executor->pauses.begin(), executor->pauses.end(), TimePoint::duration{});
}

TEST(LockWait, GoesOnUntilTheLockIsHeld) {
  const Fake executor = fake();
  contend(executor, 40);
  executor->will(says(ok(), integer(9000)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(executor->calls.size(), 41U);
  EXPECT_EQ(executor->pauses.size(), 40U);
}

TEST(LockWait, MakesExactlyOneAttemptWhenThereIsNoTime) {
  for (const auto wait :
       {0ns, -1ns, std::chrono::nanoseconds(-5s), std::chrono::nanoseconds::min()}) {
    SCOPED_TRACE(wait.count());
    const Fake executor = fake(says(nil()));
    TestLock lock = lock_on(executor);
    EXPECT_FALSE(lock.try_lock_for(wait));
    EXPECT_EQ(executor->calls.size(), 1U);
    EXPECT_TRUE(executor->pauses.empty());
  }
}

TEST(LockWait, MakesExactlyOneAttemptWhenTheTimeIsNotANumber) {
  const Fake executor = fake(says(nil()));
  TestLock lock = lock_on(executor);
  const double none = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(lock.try_lock_for(std::chrono::duration<double>(none)));
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockWait, MakesExactlyOneAttemptWhenTheTimeIsPast) {
  using System = std::chrono::system_clock;
  const auto attempts = [](const auto& end) {
    const Fake executor = fake(says(nil()));
    TestLock lock = lock_on(executor);
    EXPECT_FALSE(lock.try_lock_until(end));
    return executor->calls.size();
  };
  EXPECT_EQ(attempts(Clock::now() - 1s), 1U);
  EXPECT_EQ(attempts(System::now() - std::chrono::hours(24)), 1U);
  EXPECT_EQ(attempts(Clock::time_point::min()), 1U);
  EXPECT_EQ(attempts(System::time_point::min()), 1U);
  EXPECT_EQ(attempts(std::chrono::time_point<System, std::chrono::hours>::min()), 1U);
}

TEST(LockWait, TakesTheLastTimePointForNever) {
  using System = std::chrono::system_clock;
  const auto attempts = [](const auto& end) {
    const Fake executor = fake();
    contend(executor, 200);
    executor->will(says(ok(), integer(9)));
    TestLock lock = lock_on(executor);
    EXPECT_TRUE(lock.try_lock_until(end));
    return executor->calls.size();
  };
  EXPECT_EQ(attempts(Clock::time_point::max()), 201U);
  EXPECT_EQ(attempts(System::time_point::max()), 201U);
  EXPECT_EQ(attempts(std::chrono::time_point<System, std::chrono::hours>::max()), 201U);
}

TEST(LockWait, TakesTheDistanceToATimePointFromItsClock) {
  const Fake executor = fake();
  contend(executor, 2000);
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_until(Clock::now() + 10s));
  EXPECT_GT(waited(executor), 5s);
  EXPECT_LE(waited(executor), 10s);
}

TEST(LockWait, TriesOnceMoreAtTheDeadline) {
  const Fake executor = fake();
  contend(executor, 1000);
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(500ms));
  EXPECT_EQ(executor->calls.back().at, executor->calls.front().at + 500ms);
}

TEST(LockWait, IsHeldWhenTheLastAttemptSucceeds) {
  const Fake executor = fake(says(nil()), says(ok(), integer(10), status("string")));
  TestLock lock = lock_on(executor);
  EXPECT_TRUE(lock.try_lock_for(1ns));
  EXPECT_EQ(executor->calls.back().at, executor->calls.front().at + 1ns);
}

TEST(LockWait, NeverPausesPastTheDeadline) {
  for (int round = 0; round < 50; ++round) {
    const Fake executor = fake();
    contend(executor, 1000);
    TestLock lock = lock_on(executor);
    EXPECT_FALSE(lock.try_lock_for(37ms));
    EXPECT_EQ(waited(executor), 37ms);
  }
}

TEST(LockWait, NeverPausesForANegativeTime) {
  for (int round = 0; round < 50; ++round) {
    const Fake executor = fake();
    contend(executor, 1000);
    TestLock lock = lock_on(executor);
    executor->on_now = [&executor] { executor->advance(1ms); };
    EXPECT_FALSE(lock.try_lock_for(10ms));
    for (const auto pause : executor->pauses) EXPECT_GE(pause, 0ns);
    executor->on_now = {};
  }
}

TEST(LockWait, OverrunsByNoMoreThanOneCall) {
  const Fake executor = fake(says(nil()), says(nil(), integer(-1), status("string")).after(200ms));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(1ms));
  EXPECT_EQ(executor->calls.size(), 2U);
}

TEST(LockWait, CountsTheTimeOfTheFirstAttempt) {
  const Fake executor = fake(says(nil()).after(200ms));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(200ms));
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockWait, PausesLittleLongerThanTheHoldersLeaseLasts) {
  const Fake executor = fake();
  contend(executor, 300, 3);
  executor->will(says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  ASSERT_EQ(executor->pauses.size(), 300U);
  for (std::size_t i = 1; i < executor->pauses.size(); ++i) {
    EXPECT_LE(executor->pauses[i], 4ms);
  }
}

TEST(LockWait, PausesBetweenOneAndAHundredMilliseconds) {
  const Fake executor = fake();
  contend(executor, 500, 60'000);
  executor->will(says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  for (const auto pause : executor->pauses) {
    EXPECT_GE(pause, 1ms);
    EXPECT_LE(pause, 100ms);
  }
}

TEST(LockWait, TriesSoonWhenTheHolderHasGoneMeanwhile) {
  const Fake executor =
      fake(says(nil()), says(nil(), integer(-2), status("none")), says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_LE(executor->pauses[1], 1ms);
}

TEST(LockWait, BacksOffFromALockWithoutExpiry) {
  const Fake executor = fake();
  contend(executor, 300, -1);
  executor->will(says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_GT(waited(executor), 5s);
}

TEST(LockWait, AsksForTheHoldersLifeAndOnceForTheKind) {
  const Fake executor = fake();
  contend(executor, 3);
  executor->will(says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[0].commands.size(), 1U);
  ASSERT_EQ(executor->calls[1].commands.size(), 3U);
  EXPECT_EQ(executor->calls[1].commands[1], "PTTL job");
  EXPECT_EQ(executor->calls[1].commands[2], "TYPE job");
  ASSERT_EQ(executor->calls[2].commands.size(), 2U);
  EXPECT_EQ(executor->calls[2].commands[1], "PTTL job");
  EXPECT_EQ(executor->calls[3].commands.size(), 2U);
}

TEST(LockWait, AsksForTheKindAgainWhenItWasNotTold) {
  const Fake executor = fake(says(nil()), away(), says(nil(), integer(5), status("hash")));
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), Errc::wrong_type);
}

TEST(LockWait, ThrowsWhenTheKeyIsNoLock) {
  for (const std::string kind : {"list", "hash", "set", "zset", "stream"}) {
    SCOPED_TRACE(kind);
    const Fake executor = fake(says(nil()), says(nil(), integer(-1), status(kind)));
    TestLock lock = lock_on(executor);
    const Error error = error_of([&] {
      lock.lock();
      return 0;
    });
    EXPECT_EQ(error.code(), Errc::wrong_type);
    EXPECT_FALSE(error.in_doubt());
    EXPECT_NE(std::string(error.what()).find(kind), std::string::npos);
    EXPECT_TRUE(executor->posted.empty());
  }
}

TEST(LockWait, ThrowsWhenTheKeyIsNoLockAlsoAtTheDeadline) {
  const Fake executor = fake(says(nil()), says(nil(), integer(-1), status("list")));
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(1ns); }).code(), Errc::wrong_type);
}

TEST(LockWait, GoesOnWhenTheKindMayNotBeAskedFor) {
  const Fake executor =
      fake(says(nil()), says(nil(), refusal("NOPERM no pttl"), refusal("NOPERM no type")),
           says(ok(), refusal("NOPERM no pttl")));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
}

TEST(LockWait, IsHeldWhateverElseWasAsked) {
  const Fake executor = fake(says(nil()), says(ok(), integer(10'000), status("string")));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
}

/// So that std::lock in two threads does not go on for ever, each taking what the other wants.
TEST(LockWait, PausesBeforeItAsksAgainForWhatWasHeldByAnother) {
  const Fake executor = fake(says(nil()), says(ok(), integer(10), status("string")));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  lock.lock();
  ASSERT_EQ(executor->pauses.size(), 1U);
  EXPECT_EQ(executor->calls[1].at, executor->calls[0].at + executor->pauses[0]);
}

TEST(LockWait, AsksAtOnceAgainAfterAnAcquisition) {
  const Fake executor = fake(says(nil()), says(ok()), says(integer(1)), says(ok()));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
  lock.lock();
  EXPECT_TRUE(executor->pauses.empty());
}

TEST(LockWait, ThrowsTheFirstErrorAlsoWhereItPausedBefore) {
  const Fake executor = fake(says(nil()), away());
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), Errc::unreachable);
}

}  // namespace wait_test
}  // namespace redlatch::test
