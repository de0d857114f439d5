// How waiting in the queue ends, and what is done without it.

#include <gtest/gtest.h>

#include <chrono>
#include <stop_token>

#include "queueing.hpp"

namespace redlatch::test {
namespace server_queue_end_test {

TEST(ServerQueue, LeavesWhenItsTimeIsOver) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(queued());
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(300ms));
  EXPECT_EQ(executor->calls.back().at, executor->calls.front().at + 300ms);
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, left(token_in(status(executor)[0])));
  EXPECT_EQ(executor->posted[0].ttl, 10s);
}

TEST(ServerQueue, LeavesWhenItIsStopped) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  std::stop_source stop;
  executor->on_pause = [&] { stop.request_stop(); };
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.lock(stop.get_token()));
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("LEAVE job "));
}

TEST(ServerQueue, LeavesWhenALeaseIsPassedOn) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->on_pause = [&] {
    executor->passed_on = detail::LeasePtr(*executor, "job");
    executor->passed_on->begin(detail::Validity("other", executor->process()), "job");
    executor->passed_on->confirm({executor->now()}, 10s);
  };
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_EQ(lock.token(), "other");
  EXPECT_EQ(executor->posted.front().command, left(token_in(status(executor)[0])));
}

TEST(ServerQueue, GivesWayToAttemptsWhereTheServerRefusesIt) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("NOPERM this user has no permissions to run the 'evalsha' command")));
  executor->will(says(ok(), integer(-1), status("string")));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->address.channel.empty());
  EXPECT_TRUE(executor->said()[2].starts_with("SET job "));
  EXPECT_TRUE(executor->posted.empty());
}

TEST(ServerQueue, ThrowsForAKeyThatIsNoLock) {
  const Fake executor = fake_with_queue();
  executor->will(says(refusal("WRONGTYPE Operation against a key holding the wrong kind")));
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { lock.lock(); }).code(), Errc::wrong_type);
}

TEST(ServerQueue, DrawsAFencingTokenForALockThatWasGranted) {
  const Fake executor = fake_with_queue();
  executor->will(queued());
  executor->will(says(integer(77)));
  grant_while_waiting(executor);
  TestLock lock = lock_on(executor, {.fencing = true});
  lock.lock();
  EXPECT_EQ(executor->said().back(), "CLAIM_FENCED job " + lock.token() + " 10000 86400000");
  EXPECT_EQ(lock.fencing_token(), 77U);
}

TEST(ServerQueue, ThrowsForAFencingCounterThatIsNone) {
  const Fake executor = fake_with_queue();
  executor->will(granted());
  executor->will(says(refusal("WRONGTYPE the fencing counter is not a number")));
  TestLock lock = lock_on(executor, {.fencing = true});
  EXPECT_EQ(error_of([&] { lock.lock(); }).code(), Errc::wrong_type);
  EXPECT_TRUE(executor->posted.front().command.starts_with("LEAVE job "));
}

TEST(ServerQueue, GivesWayToAnAttemptWhenThereIsNoTimeForIt) {
  const Fake executor = fake(says(ok()));
  executor->contended = true;
  TestLock lock = lock_on(executor);
  executor->on_now = [&executor] { executor->advance(1ms); };
  EXPECT_TRUE(lock.try_lock_for(2ms));
  executor->on_now = {};
  EXPECT_TRUE(executor->said().front().starts_with("SET job "));
}

TEST(ServerQueue, IsJoinedWithoutAnAttemptWhereOthersHaveLatelyWaited) {
  const Fake executor = fake(granted());
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->contended = true;
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->said().front().starts_with("STAND job "));
  EXPECT_EQ(executor->events.size(), 1U) << "nobody contends for it";
}

TEST(ServerQueue, TellsContentionOnceWhereOthersHaveLatelyWaited) {
  const Fake executor = fake(queued(), notified());
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->contended = true;
  TestLock lock = lock_on(executor);
  lock.lock();
  ASSERT_EQ(executor->events.size(), 2U);
  EXPECT_EQ(executor->events[0].kind, EventKind::contended);
}

TEST(ServerQueue, ThrowsTheErrorOfAFirstQuestionWhereOthersHaveLatelyWaited) {
  const Fake executor = fake(away());
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->contended = true;
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { lock.lock(); }).code(), Errc::unreachable);
}

TEST(ServerQueue, IsNotJoinedByASingleAttempt) {
  const Fake executor = fake_with_queue();
  executor->contended = true;
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_TRUE(status(executor).empty());
}

}  // namespace server_queue_end_test
}  // namespace redlatch::test
