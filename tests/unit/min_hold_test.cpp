#include <gtest/gtest.h>

#include <string>
#include <utility>

#include <redlatch/redlatch.hpp>

#include "queueing.hpp"

namespace redlatch::test {
namespace min_hold_test {

/// The command that leaves the key of the token for so many milliseconds.
std::string left_for(const std::string& milliseconds, const std::string& token) {
  return "RELEASE_AFTER job " + token + ' ' + milliseconds + ' ' + token.substr(9);
}

TEST(LockMinHold, LeavesTheKeyForTheRestOfIt) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.min_hold = 5s});
  const std::string token = lock.token();
  executor->advance(2s);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(executor->said()[1], left_for("3020", token)) << "1 % for a clock that runs fast";
  EXPECT_TRUE(executor->posted.empty());
}

TEST(LockMinHold, LeavesTheKeyAtTheEndOfAScope) {
  const Fake executor = fake();
  std::string token;
  {
    const TestLock lock = held_on(executor, {.ttl = 4s, .min_hold = 5s});
    token = lock.token();
    executor->advance(2s);
  }
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, left_for("3020", token));
  EXPECT_EQ(executor->posted[0].ttl, 4s);
  EXPECT_EQ(executor->posted[0].of, detail::CleanupRelease::Reason::lease);
}

TEST(LockMinHold, LeavesTheKeyWhenAnotherLockIsMovedIntoTheObject) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.min_hold = 5s});
  const std::string token = lock.token();
  lock = held_on(executor);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, left_for("5000", token));
}

TEST(LockMinHold, MovesWithTheLock) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.min_hold = 5s});
  const std::string token = lock.token();
  TestLock moved(std::move(lock));
  EXPECT_EQ(moved.unlock(), Unlock::released);
  EXPECT_EQ(executor->said()[1], left_for("5000", token));
}

TEST(LockMinHold, EndsWithAPlainRelease) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.min_hold = 5s});
  const std::string token = lock.token();
  executor->advance(6s);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(executor->said()[1], "RELEASE job " + token);
}

/// The server granted it at some time before the answer, and has to keep the key for all of it.
TEST(LockMinHold, CountsFromTheAnswer) {
  const Fake executor = fake();
  executor->will(says(ok()).after(2s));
  TestLock lock = lock_on(executor, {.min_hold = 5s});
  EXPECT_TRUE(lock.try_lock());
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(executor->said()[1], left_for("5000", token));
}

TEST(LockMinHold, CountsFromAGrant) {
  const Fake executor = fake_with_queue();
  executor->will(first());
  grant_while_waiting(executor, 3s);
  TestLock lock = lock_on(executor, {.min_hold = 5s});
  lock.lock();
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(executor->said().back(), left_for("5000", token));
}

TEST(LockMinHold, IsKeptByALostLock) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s, .min_hold = 5s});
  const std::string token = lock.token();
  executor->advance(1s);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(executor->said()[1], left_for("4010", token)) << "if the key is ours after all";
}

TEST(LockMinHold, IsKeptBeforeTheObjectAcquiresAgain) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.ttl = 1s, .min_hold = 5s});
  const std::string token = lock.token();
  executor->advance(1s);
  executor->will(says(nil()));
  EXPECT_FALSE(lock.try_lock()) << "as every other lock";
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, left_for("4010", token));
}

TEST(LockMinHold, IsKeptByAnOpenRelease) {
  const Fake executor = fake();
  TestLock lock = held_on(executor, {.min_hold = 5s});
  const std::string token = lock.token();
  executor->will(in_doubt());
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, left_for("5000", token));
}

TEST(LockMinHold, HandsTheLeaseToNoThreadBeforeItIsOver) {
  const Fake executor = fake();
  executor->passes_on = true;
  TestLock lock = held_on(executor, {.min_hold = 5s});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(executor->passed_on);
  EXPECT_EQ(executor->called_after.size(), 1U) << "the first waiter asks the server";
  { const TestLock scoped = held_on(executor, {.min_hold = 5s}); }
  EXPECT_FALSE(executor->passed_on);
  TestLock longer = held_on(executor, {.min_hold = 5s});
  executor->advance(6s);
  EXPECT_EQ(longer.unlock(), Unlock::released);
  EXPECT_TRUE(executor->passed_on);
  executor->passed_on.reset();
}

TEST(LockMinHold, IsNotForAnAcquisitionInDoubt) {
  const Fake executor = fake();
  executor->will(in_doubt());
  TestLock lock = lock_on(executor, {.min_hold = 5s});
  static_cast<void>(error_of([&] { return lock.try_lock(); }));
  ASSERT_EQ(executor->calls.size(), 1U);
  ASSERT_TRUE(executor->calls[0].cleanup.has_value());
  EXPECT_TRUE(executor->calls[0].cleanup->command.starts_with("RELEASE job "));
}

TEST(LockMinHold, IsNotForALockThatIsNotDurableInTime) {
  const Fake executor = fake(says(ok()), says(integer(1), integer(0)).after(300ms));
  TestLock lock =
      lock_on(executor, {.min_hold = 5s, .durability = {.replicas = 1, .timeout = 250ms}});
  static_cast<void>(error_of([&] { return lock.try_lock(); }));
  EXPECT_TRUE(executor->said().back().starts_with("RELEASE job "));
}

TEST(LockMinHold, IsNotForAnAnswerThatCameTooLate) {
  const Fake executor = fake();
  executor->will(says(ok()).after(2s));
  TestLock lock = lock_on(executor, {.ttl = 1s, .min_hold = 5s});
  static_cast<void>(error_of([&] { return lock.try_lock(); }));
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("RELEASE job "));
}

}  // namespace min_hold_test
}  // namespace redlatch::test
