#include <gtest/gtest.h>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace unlock_test {

TEST(LockUnlock, CallsTheFirstThatWaitsInItsProcess) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(executor->called_after.size(), 1U);
}

TEST(LockUnlock, ReportsReleasedWhenItWasStillOurs) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(1)));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockUnlock, ReportsLostWhenTheKeyWasTakenOver) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(0)));
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockUnlock, ReleasesByToken) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const std::string token = lock.token();
  lock.unlock();
  ASSERT_EQ(executor->said().size(), 2U);
  EXPECT_EQ(executor->said()[1], "RELEASE job " + token);
  EXPECT_EQ(executor->calls[1].key, "job");
}

TEST(LockUnlock, ConnectsWithinTheTimeForTheCommand) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  lock.unlock();
  EXPECT_EQ(executor->calls[1].connecting, ConnectPolicy::within_timeout);
}

TEST(LockUnlock, HandsNothingOverToBeUndone) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  lock.unlock();
  EXPECT_FALSE(executor->calls[1].cleanup.has_value());
}

TEST(LockUnlock, ReportsUnknownWhenTheServerCannotSay) {
  for (const std::string reply :
       {"READONLY You can't write against a read only replica.", "LOADING Redis is loading",
        "MASTERDOWN Link with MASTER is down", "MISCONF Redis is configured to save",
        "OOM command not allowed", "NOREPLICAS Not enough good replicas", "BUSY Redis is busy",
        "CLUSTERDOWN The cluster is down", "TRYAGAIN Multiple keys request", "ERR something else",
        "NOPERM this user has no permissions", "NOAUTH Authentication required."}) {
    SCOPED_TRACE(reply);
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(says(refusal(reply)));
    EXPECT_EQ(lock.unlock(), Unlock::unknown);
    EXPECT_EQ(executor->posted.size(), 1U);
  }
}

TEST(LockUnlock, ReportsUnknownWhenNoAnswerCame) {
  for (const Answer& answer : {in_doubt(), in_doubt(Errc::unreachable), away()}) {
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(answer);
    EXPECT_EQ(lock.unlock(), Unlock::unknown);
    EXPECT_EQ(executor->posted.size(), 1U);
  }
}

TEST(LockUnlock, LeavesAnOpenReleaseToTheBackground) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 4s});
  const std::string token = lock.token();
  executor->will(in_doubt());
  lock.unlock();
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + token);
  EXPECT_EQ(executor->posted[0].key, "job");
  EXPECT_EQ(executor->posted[0].ttl, 4s);
}

TEST(LockUnlock, LeavesAReleaseOpenForAsLongAsAnExtensionMadeTheLease) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 4s});
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(60s));
  executor->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(1s));
  executor->will(in_doubt());
  lock.unlock();
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].ttl, 60s);
}

TEST(LockUnlock, LeavesAReleaseOpenForAsLongAsAnExtensionMayHaveMadeTheLease) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 4s});
  executor->will(in_doubt());
  static_cast<void>(error_of([&] { return lock.extend(60s); }));
  executor->will(in_doubt());
  lock.unlock();
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].ttl, 60s);
}

TEST(LockUnlock, ReportsLostWhenNothingIsHeld) {
  const Fake executor = fake();
  TestLock lock = lock_on(executor);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_TRUE(executor->calls.empty());
}

TEST(LockUnlock, ReportsLostTheSecondTime) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  lock.unlock();
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(executor->calls.size(), 2U);
}

TEST(LockUnlock, ReportsLostWhenTheKeyIsNoLockAnyMore) {
  for (const std::string reply :
       {"WRONGTYPE Operation against a key holding the wrong kind of value script: "
        "cfa4e6df953aa8e98dfc77aeb56b8af026b12633, on @user_script:1.",
        "ERR Error running script (call to f_cfa4e6df953aa8e98dfc77aeb56b8af026b12633): "
        "@user_script:1: WRONGTYPE Operation against a key holding the wrong kind of value"}) {
    SCOPED_TRACE(reply);
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(says(refusal(reply)));
    EXPECT_EQ(lock.unlock(), Unlock::lost);
    EXPECT_TRUE(executor->posted.empty());
  }
}

TEST(LockUnlock, HoldsNothingAfterwardsWhateverTheAnswerIs) {
  for (const Answer& answer : {says(integer(1)), says(integer(0)), away(), in_doubt(),
                               says(refusal("READONLY no")), out_of_memory()}) {
    const Fake executor = fake();
    TestLock lock = held_on(executor);
    executor->will(answer);
    lock.unlock();
    EXPECT_FALSE(lock.owns_lock());
    EXPECT_EQ(lock.token(), "");
    EXPECT_EQ(lock.remaining(), 0ms);
  }
}

TEST(LockUnlock, StillReleasesAfterTheEndOfValidityAndReportsLost) {
  for (const int reply : {0, 1}) {
    const Fake executor = fake();
    TestLock lock = held_on(executor, {.ttl = 1s});
    const std::string token = lock.token();
    executor->advance(1s);
    executor->will(says(integer(reply)));
    EXPECT_EQ(lock.unlock(), Unlock::lost);
    EXPECT_EQ(executor->said()[1], "RELEASE job " + token);
  }
}

TEST(LockUnlock, ReportsLostAfterTheEndOfValidityEvenWhenNoAnswerCame) {
  for (const Answer& answer : {away(), in_doubt(), says(refusal("READONLY no")), out_of_memory()}) {
    const Fake executor = fake();
    TestLock lock = held_on(executor, {.ttl = 1s});
    executor->advance(1s);
    executor->will(answer);
    EXPECT_EQ(lock.unlock(), Unlock::lost);
    EXPECT_EQ(executor->posted.size(), 1U);
  }
}

TEST(LockUnlock, StillReleasesAfterLossAndReportsLost) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(integer(0)));
  EXPECT_FALSE(lock.extend());
  executor->will(says(integer(1)));
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_TRUE(executor->said()[2].starts_with("RELEASE job "));
}

TEST(LockUnlock, IsReleasedWhenItWasOursAtTheCallAndTheAnswerIsLate) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s});
  executor->will(says(integer(1)).after(2s));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST(LockUnlock, SurvivesThatMemoryRunsOut) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const std::string token = lock.token();
  executor->will(out_of_memory());
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(token_in(executor->posted[0].command), token);
}

}  // namespace unlock_test
}  // namespace redlatch::test
