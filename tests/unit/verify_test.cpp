#include <gtest/gtest.h>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace verify_test {

TEST(LockVerify, IsTrueWhenTheKeyHoldsOurToken) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(text(lock.token())));
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(executor->said()[1], "GETRANGE job 0 36");
  EXPECT_EQ(executor->calls[1].connecting, ConnectPolicy::separate_timeout);
}

TEST(LockVerify, IsFalseWhenTheKeyHoldsAnotherToken) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(text("somebody else")));
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.owns_lock());
}

TEST(LockVerify, IsFalseWhenTheTokenIsOnlyAPart) {
  for (const bool longer : {false, true}) {
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(says(text(longer ? lock.token() + "0" : lock.token().substr(1))));
    EXPECT_FALSE(lock.verify());
  }
}

TEST(LockVerify, IsFalseWhenTheKeyIsGone) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(text("")));
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.owns_lock());
}

TEST(LockVerify, IsFalseWhenTheKeyIsNoLockAnyMore) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(
      says(refusal("WRONGTYPE Operation against a key holding the wrong kind of value")));
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.owns_lock());
}

TEST(LockVerify, AsksNobodyWhenNothingIsHeld) {
  const Fake executor = fake();
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.verify());
  EXPECT_TRUE(executor->calls.empty());
}

TEST(LockVerify, AsksNobodyAfterTheEndOfValidity) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s});
  executor->advance(1s);
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockVerify, DoesNotProlongTheValidity) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->advance(4s);
  executor->will(says(text(lock.token())));
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.remaining(), 5898ms);
}

TEST(LockVerify, IsFalseWhenTheAnswerComesAfterTheEndOfValidity) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s});
  executor->will(says(text(lock.token())).after(1s));
  EXPECT_FALSE(lock.verify());
}

TEST(LockVerify, ThrowsWhenTheServerDoesNotSayAndStaysHeld) {
  for (const Answer& answer : {away(), in_doubt(), says(refusal("MASTERDOWN Link is down")),
                               says(refusal("NOPERM no permissions"))}) {
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(answer);
    EXPECT_NE(error_of([&] { return lock.verify(); }).code(), Errc::wrong_type);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(lock.remaining(), 9898ms);
  }
}

TEST(LockVerify, IsNotInDoubtWhenTheServerRefuses) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(refusal("MASTERDOWN Link with MASTER is down")));
  const Error error = error_of([&] { return lock.verify(); });
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_FALSE(error.in_doubt());
}

}  // namespace verify_test
}  // namespace redlatch::test
