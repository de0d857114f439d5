// What a lock leaves to the background while it is held, and takes back before it speaks again.

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <stop_token>
#include <utility>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace keeping_test {

TEST(LockKeeping, BeginsWhenTheLockIsHeld) {
  const Fake server = fake(says(ok()));
  TestLock lock = lock_on(server, {.ttl = 9s});
  EXPECT_EQ(server->kept, nullptr);
  ASSERT_TRUE(lock.try_lock());
  ASSERT_NE(server->kept, nullptr);
  EXPECT_EQ(server->kept->key(), "job");
  EXPECT_EQ(server->kept->token(), lock.token());
  EXPECT_EQ(line(server->kept->extension()), "EXTEND job " + lock.token() + " 9000");
  EXPECT_EQ(server->kept->renew_at(), server->now() + 3s);
}

TEST(LockKeeping, DoesNotBeginForALockThatIsNotHeld) {
  const Fake server = fake(says(nil()));
  EXPECT_FALSE(lock_on(server).try_lock());
  EXPECT_EQ(server->kept, nullptr);
  EXPECT_TRUE(server->tenures.empty());
}

TEST(LockKeeping, DoesNotRenewWhatShallNotBe) {
  const Fake server = fake();
  const TestLock lock = held_on(server, {.auto_renew = false});
  ASSERT_NE(server->kept, nullptr);
  EXPECT_EQ(server->kept->renew_at(), TimePoint::max());
}

TEST(LockKeeping, EndsWithMaxHold) {
  const Fake server = fake();
  const TestLock lock = held_on(server, {.ttl = 9s, .max_hold = 5s});
  EXPECT_EQ(server->kept->renew_at(), server->now() + 3s);
  server->kept->confirm({server->now() + 2s}, 9s);  // by a renewal
  EXPECT_EQ(server->kept->renew_at(), TimePoint::max());
}

TEST(LockKeeping, EndsBeforeTheReleaseIsSaid) {
  const Fake server = fake();
  TestLock lock = held_on(server);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server->kept, nullptr);
  ASSERT_EQ(server->taken_back_after.size(), 1U);
  EXPECT_EQ(server->taken_back_after.front(), 1U);  // after the SET, before the RELEASE
  EXPECT_TRUE(server->tenures.empty());
}

TEST(LockKeeping, EndsBeforeTheReleaseThatNobodyWaitsFor) {
  const Fake server = fake();
  std::optional<TestLock> lock(held_on(server));
  EXPECT_EQ(server->tenures.size(), 1U);
  lock.reset();
  EXPECT_EQ(server->kept, nullptr);
  EXPECT_EQ(server->posted.size(), 1U);
  EXPECT_TRUE(server->tenures.empty());
}

TEST(LockKeeping, SaysWhetherTheLossIsToldAlready) {
  const Fake server = fake();
  std::optional<TestLock> lock(held_on(server));
  server->kept->lose();
  server->loss_is_told = true;
  lock.reset();
  lock.emplace(held_on(server));
  server->kept->lose();
  server->loss_is_told = false;
  lock.reset();
  ASSERT_EQ(server->posted.size(), 2U);
  EXPECT_EQ(server->posted[0].of, detail::CleanupRelease::Reason::notified);
  EXPECT_EQ(server->posted[1].of, detail::CleanupRelease::Reason::ended_lease);
}

TEST(LockKeeping, IsInterruptedByAnExtension) {
  const Fake server = fake();
  TestLock lock = held_on(server, {.ttl = 9s});
  server->advance(1s);
  server->will(says(integer(1)));
  EXPECT_TRUE(lock.extend(30s));
  EXPECT_EQ(server->suspended_after, std::vector<std::size_t>{1});
  EXPECT_EQ(server->taken_back_after, std::vector<std::size_t>{2});
  EXPECT_EQ(server->kept_after, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(line(server->kept->extension()), "EXTEND job " + lock.token() + " 30000");
  EXPECT_EQ(server->kept->renew_at(), server->now() + 10s);
}

TEST(LockKeeping, GoesOnAfterAnExtensionThatFailed) {
  const Fake server = fake();
  TestLock lock = held_on(server);
  server->will(away());
  EXPECT_THROW(static_cast<void>(lock.extend()), Error);
  EXPECT_NE(server->kept, nullptr);
}

/// What was not confirmed does not decide when the next renewal is due, or the loss told.
TEST(LockKeeping, GoesOnAsBeforeAfterAnotherTtlThatFailed) {
  for (const auto ttl : {5min, 1min}) {
    for (const Answer& answer : {away(), in_doubt(), says(refusal("READONLY You can't write"))}) {
      const Fake server = fake();
      TestLock lock = held_on(server, {.ttl = 10s});
      const TimePoint notify_loss_at = server->kept->notify_loss_at();
      const TimePoint renew_at = server->kept->renew_at();
      server->will(answer);
      EXPECT_THROW(static_cast<void>(lock.extend(ttl)), Error);
      EXPECT_EQ(server->kept->notify_loss_at(), notify_loss_at);
      EXPECT_EQ(server->kept->renew_at(), renew_at);
      EXPECT_EQ(line(server->kept->extension()), "EXTEND job " + lock.token() + " 10000");
    }
  }
}

TEST(LockKeeping, HearsOfALossThatAnExtensionFound) {
  const Fake server = fake();
  TestLock lock = held_on(server);
  server->will(says(integer(0)));
  EXPECT_FALSE(lock.extend());
  ASSERT_NE(server->kept, nullptr);
  EXPECT_TRUE(server->kept->is_lost());
}

TEST(LockKeeping, HearsOfALossThatVerifyFound) {
  const Fake server = fake();
  TestLock lock = held_on(server);
  server->will(says(text("somebody else")));
  EXPECT_FALSE(lock.verify());
  ASSERT_NE(server->kept, nullptr);
  EXPECT_TRUE(server->kept->is_lost());
}

TEST(LockKeeping, MovesWithTheLock) {
  const Fake server = fake();
  TestLock lock = held_on(server);
  TestLock other = std::move(lock);
  EXPECT_TRUE(other.owns_lock());
  EXPECT_FALSE(lock.owns_lock());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(server->tenures.size(), 1U);
  EXPECT_EQ(other.unlock(), Unlock::released);
  EXPECT_TRUE(server->tenures.empty());
}

TEST(LockKeeping, GoesBackToItsOwnClient) {
  const Fake one = fake();
  const Fake other = fake();
  TestLock lock = held_on(one);
  lock = held_on(other);
  EXPECT_TRUE(one->tenures.empty());
  EXPECT_EQ(other->tenures.size(), 1U);
}

TEST(LockKeeping, NeedsAThreadBeforeAnythingIsSaid) {
  const Fake server = fake();
  server->no_thread = true;
  TestLock lock = lock_on(server);
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::unreachable);
  EXPECT_TRUE(server->calls.empty());
  TestLock brief = lock_on(server, {.auto_renew = false});
  EXPECT_EQ(error_of([&] { return brief.try_lock(); }).code(), Errc::unreachable);
}

TEST(LockLostToken, HasNoStateWhenNothingIsHeld) {
  const Fake server = fake();
  EXPECT_FALSE(lock_on(server).lost_token().stop_possible());
}

TEST(LockLostToken, IsOneForEachAcquisition) {
  const Fake server = fake();
  TestLock lock = held_on(server);
  const std::stop_token first = lock.lost_token();
  EXPECT_EQ(first, lock.lost_token());
  EXPECT_TRUE(first.stop_possible());
  lock.unlock();
  EXPECT_FALSE(first.stop_requested());
  server->will(says(ok()));
  ASSERT_TRUE(lock.try_lock());
  EXPECT_NE(first, lock.lost_token());
}

TEST(LockMaxHold, IsChecked) {
  for (const auto time :
       {-1ms, std::chrono::milliseconds::min(), std::chrono::milliseconds::max()}) {
    const Error error = error_of([&] { return lock_on(fake(), {.max_hold = time}); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("max_hold"), std::string::npos);
  }
}

}  // namespace keeping_test
}  // namespace redlatch::test
