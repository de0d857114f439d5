#include <gtest/gtest.h>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace extend_test {

// What a ttl leaves once drift is taken off.
constexpr auto of_10s = 9898ms;
constexpr auto of_1s = 988ms;

Error failed_extension(TestLock& lock, std::chrono::milliseconds ttl) {
  return error_of([&] { return lock.extend(ttl); });
}

TEST(LockExtend, GoesBackToAFullTtl) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->advance(6s);
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.remaining(), of_10s);
}

TEST(LockExtend, TakesATtlOfItsOwn) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(60s));
  EXPECT_EQ(lock.remaining(), 60s - 602ms);
}

TEST(LockExtend, ShortensTheLeaseWhenToldTo) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(1s));
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, SaysTokenAndTtl) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(77s));
  EXPECT_EQ(executor->said()[1], "EXTEND job " + lock.token() + " 77000");
  EXPECT_EQ(executor->calls[1].connecting, ConnectPolicy::separate_timeout);
  EXPECT_FALSE(executor->calls[1].cleanup.has_value());
}

TEST(LockExtend, KeepsTheToken) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const std::string token = lock.token();
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.token(), token);
}

TEST(LockExtend, CountsFromBeforeTheRequest) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)).after(3s));
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.remaining(), of_10s - 3s);
}

TEST(LockExtend, IsFalseWhenTheLockWasLost) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(0)));
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.token(), "");
}

TEST(LockExtend, IsFalseWhenTheKeyIsNoLockAnyMore) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(
      says(refusal("WRONGTYPE Operation against a key holding the wrong kind of value")));
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
}

TEST(LockExtend, AsksNobodyWhenNothingIsHeld) {
  const Fake executor = fake();
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.extend());
  EXPECT_TRUE(executor->calls.empty());
}

TEST(LockExtend, AsksNobodyAfterTheEndOfValidity) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s});
  executor->advance(of_1s);
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockExtend, AsksNobodyOnceTheLockWasLost) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(0)));
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(executor->calls.size(), 2U);
}

TEST(LockExtend, IsFalseWhenTheAnswerComesAfterTheExtendedLease) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)).after(of_1s));
  EXPECT_FALSE(lock.extend(1s));
  EXPECT_FALSE(lock.owns_lock());
}

TEST(LockExtend, RefusesATtlThatCannotWork) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  using ms = std::chrono::milliseconds;
  for (const ms ttl : {ms(9), ms(0), ms(-1), ms::min(), ms::max()}) {
    SCOPED_TRACE(ttl.count());
    EXPECT_EQ(failed_extension(lock, ttl).code(), Errc::invalid_argument);
  }
  EXPECT_EQ(executor->calls.size(), 1U);
  EXPECT_TRUE(lock.owns_lock());
}

TEST(LockExtend, RefusesATtlThatCannotWorkAlsoWhenNothingIsHeld) {
  const Fake executor = fake();
  TestLock lock = lock_on(executor);
  EXPECT_EQ(failed_extension(lock, 0ms).code(), Errc::invalid_argument);
}

TEST(LockExtend, KeepsTheOldValidityWhenNothingWasSent) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(away());
  EXPECT_FALSE(failed_extension(lock, 1s).in_doubt());
  EXPECT_EQ(lock.remaining(), of_10s);
}

TEST(LockExtend, KeepsTheOldValidityWhenTheServerRefusesBeforeTheScript) {
  for (const std::string reply : {"LOADING Redis is loading", "BUSY Redis is busy", "NOAUTH no",
                                  "NOPERM no", "NOSCRIPT No matching script."}) {
    SCOPED_TRACE(reply);
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(says(refusal(reply)));
    EXPECT_FALSE(failed_extension(lock, 1s).in_doubt());
    EXPECT_EQ(lock.remaining(), of_10s);
  }
}

TEST(LockExtend, IsInDoubtWhenTheScriptFailed) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(refusal("OOM command not allowed script: f00, on @user_script:1.")));
  const Error error = failed_extension(lock, 1s);
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_TRUE(error.in_doubt());
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, StaysHeldForAsLongAsIsCertainWhenInDoubt) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(in_doubt());
  EXPECT_TRUE(failed_extension(lock, 60s).in_doubt());
  EXPECT_EQ(lock.remaining(), of_10s);
}

TEST(LockExtend, LowersTheValidityWhenAShorterTtlIsInDoubt) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(in_doubt());
  static_cast<void>(failed_extension(lock, 1s));
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, LowersTheValidityWhenMemoryRanOutMeanwhile) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(out_of_memory());
  EXPECT_THROW(static_cast<void>(lock.extend(1s)), std::bad_alloc);
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, LowersTheValidityWhenMemoryRunsOutForTheError) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(refusal("ERR failed script: x, on @user_script:2.")));
  executor->no_memory_for_names = true;
  EXPECT_THROW(static_cast<void>(lock.extend(1s)), std::bad_alloc);
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, CountsAShorterTtlInDoubtFromBeforeTheRequest) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(in_doubt(Errc::unreachable));
  executor->advance(2s);
  static_cast<void>(failed_extension(lock, 1s));
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, IsLimitedByAShorterOneInDoubtThatMayComeLater) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(in_doubt());
  static_cast<void>(failed_extension(lock, 1s));
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(60s));
  EXPECT_EQ(lock.remaining(), of_1s);
}

TEST(LockExtend, IsNotLimitedByALongerOneInDoubt) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(in_doubt());
  static_cast<void>(failed_extension(lock, 60s));
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.remaining(), of_10s);
}

TEST(LockExtend, IsNotLimitedByWhatWasInDoubtInAnEarlierLease) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(in_doubt());
  static_cast<void>(failed_extension(lock, 1s));
  lock.unlock();
  executor->will(says(ok()));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.remaining(), of_10s);
}

}  // namespace extend_test
}  // namespace redlatch::test
