#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace acquire_test {

TEST(Lock, IsFreeAndSaysNothingWhenItIsMade) {
  const Fake executor = fake();
  {
    const TestLock lock = lock_on(executor);
    EXPECT_FALSE(lock.owns_lock());
    EXPECT_EQ(lock.key(), "job");
  }
  EXPECT_TRUE(executor->calls.empty());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, IsHeldWhenTheServerSaysOk) {
  const Fake executor = fake(says(ok()));
  TestLock lock = lock_on(executor);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(lock.owns_lock());
}

TEST(Lock, IsNotHeldWhenSomebodyElseHoldsTheKey) {
  const Fake executor = fake(says(nil()));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, TriesWithOneSetAndNothingElse) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 1234ms});
  ASSERT_EQ(executor->said().size(), 1U);
  EXPECT_EQ(executor->said()[0], "SET job " + lock.token() + " NX PX 1234");
  EXPECT_EQ(executor->calls[0].key, "job");
}

TEST(Lock, LooksOnceAtWhatKeepsItsAttemptsFromSucceeding) {
  const Fake executor = fake(says(nil()), says(nil()), says(ok()));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  EXPECT_TRUE(lock.try_lock());
  ASSERT_EQ(executor->looks.size(), 1U);
  EXPECT_EQ(executor->looks.front(), ConnectPolicy::never);
}

TEST(Lock, ThrowsWhenItsAttemptMeetsWhatIsNoLock) {
  const Fake executor = fake(says(nil()));
  executor->kind_of_key = status("list");
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::wrong_type);
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, IsHeldElsewhereWhereTheKindIsNotSaid) {
  const Fake executor = fake(says(nil()));
  executor->kind_of_key = refusal("NOPERM no");
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
}

TEST(Lock, MakesOneAttemptWhenItOnlyTries) {
  const Fake executor = fake(says(nil()));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(executor->calls.size(), 1U);
  EXPECT_TRUE(executor->pauses.empty());
}

TEST(Lock, MayConnectOnTopOfTheTimeForTheCommand) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor);
  EXPECT_EQ(executor->calls[0].connecting, ConnectPolicy::separate_timeout);
}

TEST(Lock, SendsNothingForAnAttemptThatWasRefused) {
  const Fake executor = fake(says(nil()));
  {
    TestLock lock = lock_on(executor);
    EXPECT_FALSE(lock.try_lock());
  }
  EXPECT_EQ(executor->said().size(), 1U);
}

TEST(Lock, ShowsTheTokenThatItSent) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor);
  EXPECT_EQ(lock.token().size(), 36U);
  EXPECT_EQ(lock.token(), token_in(executor->said()[0]));
}

TEST(Lock, HasNoTokenWhenItIsNotHeld) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  lock.unlock();
  EXPECT_EQ(lock.token(), "");
}

TEST(Lock, DrawsAFreshTokenForEveryAttempt) {
  const Fake executor = fake(says(nil()), says(nil(), integer(50), status("string")),
                             says(nil(), integer(50)), says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  std::set<std::string> tokens;
  for (const Call& call : executor->calls) tokens.insert(token_in(call.commands[0]));
  EXPECT_EQ(tokens.size(), 4U);
}

TEST(Lock, DrawsAFreshTokenForEveryAcquisition) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const std::string first = lock.token();
  lock.unlock();
  executor->will(says(ok()));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_NE(lock.token(), first);
}

TEST(Lock, HandsOverAReleaseByTokenWithTheAttempt) {
  const Fake executor = fake();
  const TestLock lock = held_on(executor, {.ttl = 3s});
  const auto& cleanup = executor->calls[0].cleanup;
  ASSERT_TRUE(cleanup.has_value());
  EXPECT_EQ(cleanup->command, "RELEASE job " + lock.token());
  EXPECT_EQ(cleanup->ttl, 3s);
}

TEST(Lock, ThrowsWhatTheServerSaidOfASingleAttempt) {
  const Fake executor = fake(says(refusal("LOADING Redis is loading the dataset in memory")));
  TestLock lock = lock_on(executor);
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_EQ(error.server(), "redis://fake:1/0");
  EXPECT_NE(std::string(error.what()).find("job"), std::string::npos);
  EXPECT_FALSE(lock.owns_lock());
}

TEST(Lock, IsNotInDoubtWhenTheServerRefusesASet) {
  const Fake executor = fake(says(refusal("OOM command not allowed")));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(error_of([&] { return lock.try_lock(); }).in_doubt());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, IsNotInDoubtWhenNothingWasSent) {
  const Fake executor = fake(away());
  TestLock lock = lock_on(executor);
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, IsInDoubtWhenNoAnswerCame) {
  const Fake executor = fake(in_doubt());
  TestLock lock = lock_on(executor);
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_TRUE(error.in_doubt());
  EXPECT_FALSE(lock.owns_lock());
}

TEST(Lock, LeavesTheUndoingOfABrokenConnectionToTheExecutor) {
  const Fake executor = fake(in_doubt(Errc::unreachable));
  TestLock lock = lock_on(executor);
  static_cast<void>(error_of([&] { return lock.try_lock(); }));
  ASSERT_TRUE(executor->calls[0].cleanup.has_value());
  EXPECT_EQ(token_in(executor->calls[0].cleanup->command), token_in(executor->said()[0]));
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, ThrowsWhenTheAnswerComesAfterTheLeaseIsOver) {
  const Fake executor = fake(says(ok()).after(1s));
  TestLock lock = lock_on(executor, {.ttl = 1s});
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_TRUE(error.in_doubt());
  EXPECT_FALSE(lock.owns_lock());
}

TEST(Lock, ReleasesWhatItWasGivenTooLate) {
  const Fake executor = fake(says(ok()).after(1s));
  TestLock lock = lock_on(executor, {.ttl = 1s});
  static_cast<void>(error_of([&] { return lock.try_lock(); }));
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + token_in(executor->said()[0]));
  EXPECT_EQ(executor->posted[0].key, "job");
  EXPECT_EQ(executor->posted[0].ttl, 1s);
}

TEST(Lock, IsTooLateAtTheVeryEndOfValidity) {
  const Fake executor = fake(says(ok()).after(1000ms - 10ms - 2ms));
  TestLock lock = lock_on(executor, {.ttl = 1s});
  EXPECT_TRUE(error_of([&] { return lock.try_lock(); }).in_doubt());
}

TEST(Lock, IsHeldWhenTheAnswerComesJustBeforeTheEnd) {
  const Fake executor = fake(says(ok()).after(1000ms - 10ms - 2ms - 1ns));
  TestLock lock = lock_on(executor, {.ttl = 1s});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(executor->posted.empty());
}

TEST(Lock, ThrowsDeadlockWhenItIsHeldAlready) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  const auto is_refused = [](const auto& action) {
    try {
      action();
    } catch (const std::system_error& error) {
      return error.code() == std::errc::resource_deadlock_would_occur;
    }
    return false;
  };
  EXPECT_TRUE(is_refused([&] { lock.lock(); }));
  EXPECT_TRUE(is_refused([&] { return lock.try_lock(); }));
  EXPECT_TRUE(is_refused([&] { return lock.try_lock_for(1s); }));
  EXPECT_TRUE(is_refused([&] { return lock.try_lock_until(std::chrono::steady_clock::now()); }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(Lock, LetsGoOfAnExpiredLeaseBeforeItStartsAfresh) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s});
  const std::string old = lock.token();
  executor->advance(1s);
  executor->will(says(ok()));
  EXPECT_TRUE(lock.try_lock());
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + old);
  EXPECT_EQ(executor->posted[0].said_before, 1U);
  ASSERT_EQ(executor->said().size(), 2U);
  EXPECT_EQ(executor->said()[1], "SET job " + lock.token() + " NX PX 1000");
  EXPECT_NE(lock.token(), old);
}

TEST(Lock, LetsGoOfALostLeaseBeforeItStartsAfresh) {
  const Fake executor = fake();
  TestLock lock = held_on(executor);
  executor->will(says(nil()));
  EXPECT_FALSE(lock.verify());
  executor->will(says(ok()));
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("RELEASE job "));
  EXPECT_EQ(executor->posted[0].said_before, 2U);
}

TEST(Lock, CanBeTakenAgainAfterMemoryRanOut) {
  const Fake executor = fake(out_of_memory(), says(ok()));
  TestLock lock = lock_on(executor);
  EXPECT_THROW(static_cast<void>(lock.try_lock()), std::bad_alloc);
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(lock.try_lock());
}

TEST(Lock, CannotBeTakenWhenItWasMovedFrom) {
  const Fake executor = fake();
  TestLock lock = lock_on(executor);
  const TestLock other = std::move(lock);
  try {
    lock.lock();  // NOLINT(bugprone-use-after-move): it is what is tested
    FAIL();
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::operation_not_permitted);
  }
  EXPECT_TRUE(executor->calls.empty());
}

}  // namespace acquire_test
}  // namespace redlatch::test
