#include <gtest/gtest.h>

#include <chrono>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace lock_validity_test {

using Clock = std::chrono::steady_clock;

TEST(LockValidity, IsTheTtlLessOnePercentAndTwoMilliseconds) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 5s});
  EXPECT_EQ(lock.remaining(), 5000ms - 50ms - 2ms);
}

TEST(LockValidity, CountsFromBeforeTheRequest) {
  const Fake executor = fake(says(ok()).after(100ms));
  TestLock lock = lock_on(executor, {.ttl = 5s});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.remaining(), 4948ms - 100ms);
}

TEST(LockValidity, EndsByItself) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 5s});
  executor->advance(4948ms - 1ns);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_TRUE(static_cast<bool>(lock));
  executor->advance(1ns);
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_FALSE(static_cast<bool>(lock));
}

TEST(LockValidity, EndsWithoutAnyCommand) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 5s});
  executor->advance(1h);
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.token(), "");
  EXPECT_EQ(lock.remaining(), 0ms);
  EXPECT_EQ(lock.expires_at(), Clock::time_point{});
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockValidity, IsRoundedDown) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 5s});
  executor->advance(1ns);
  EXPECT_EQ(lock.remaining(), 4947ms);
}

TEST(LockValidity, IsZeroWhenNothingIsHeld) {
  const Fake executor = fake();
  const TestLock lock = lock_on(executor);
  EXPECT_EQ(lock.remaining(), 0ms);
  EXPECT_EQ(lock.expires_at(), Clock::time_point{});
  EXPECT_FALSE(static_cast<bool>(lock));
}

TEST(LockValidity, IsZeroAfterLoss) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(0)));
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(lock.remaining(), 0ms);
  EXPECT_EQ(lock.expires_at(), Clock::time_point{});
}

TEST(LockValidity, IsToldOnTheSteadyClockToo) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 5s});
  const Clock::time_point before = Clock::now();
  const Clock::time_point end = lock.expires_at();
  EXPECT_GE(end, before + 4948ms);
  EXPECT_LE(end, Clock::now() + 4948ms);
}

TEST(LockValidity, IsNeverToldLongerThanItIs) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 5s});
  Clock::time_point read{};
  executor->on_now = [&] {
    // The steady clock goes on between the readings of the two clocks.
    read = Clock::now();
    while (Clock::now() == read) {
    }
  };
  const Clock::time_point end = lock.expires_at();
  executor->on_now = {};
  EXPECT_LE(end, read + 4948ms);
}

TEST(LockValidity, StartsAnewWithEveryAcquisition) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 5s});
  executor->advance(3s);
  lock.unlock();
  executor->will(says(ok()));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.remaining(), 4948ms);
}

TEST(LockValidity, IsShortForTheShortestTtl) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 10ms});
  executor->advance(7900us - 1ns);
  EXPECT_TRUE(lock.owns_lock());
  executor->advance(1ns);
  EXPECT_FALSE(lock.owns_lock());
}

}  // namespace lock_validity_test
}  // namespace redlatch::test
