// What a lock has counted and told, and when.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace events_test {

std::vector<EventKind> kinds(const Fake& server) {
  std::vector<EventKind> all;
  for (const Happened& event : server->events) all.push_back(event.kind);
  return all;
}

TEST(LockEvents, OfAFreeLockAreAcquiredAndReleased) {
  const Fake server = fake(says(ok()).after(3ms));
  TestLock lock = lock_on(server);
  ASSERT_TRUE(lock.try_lock());
  server->advance(1s);
  server->will(says(integer(1)).after(1271ms));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  const std::vector<Happened> expected{{EventKind::acquired, 3ms, {}},
                                       {EventKind::released, 1s, {}}};
  EXPECT_EQ(server->events, expected) << "the release itself takes no time of the hold";
  EXPECT_TRUE(server->places.empty());
}

TEST(LockEvents, OfAContendedLockSayHowLongItWaited) {
  const Fake server = fake(says(nil()), says(nil()), says(ok()));
  TestLock lock = lock_on(server);
  lock.lock();
  EXPECT_EQ(kinds(server), (std::vector{EventKind::contended, EventKind::acquired}));
  EXPECT_EQ(server->events[1].elapsed, server->pauses[0] + server->pauses[1]);
  EXPECT_EQ(server->places.size(), 1U);
  EXPECT_EQ(server->waiting, 0);
}

TEST(LockEvents, OfALockThatStaysSomebodyElsesAreContendedOnly) {
  const Fake server = fake(says(nil()));
  TestLock lock = lock_on(server);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(kinds(server), std::vector{EventKind::contended});
}

TEST(LockEvents, TellSingleAttemptsFromWaits) {
  const Fake server = fake(says(nil()), says(nil()), says(nil()), says(ok()));
  TestLock lock = lock_on(server);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(0s));
  EXPECT_EQ(server->missed, 2);
  TestLock waiting = lock_on(server);
  waiting.lock();
  EXPECT_EQ(server->missed, 2);
  EXPECT_EQ(kinds(server), (std::vector{EventKind::contended, EventKind::contended,
                                        EventKind::contended, EventKind::acquired}));
}

TEST(LockEvents, SayInTheLastErrorOfAWaitThatThisProcessHoldsTheKey) {
  for (const bool at_first : {true, false}) {
    const Fake server = fake();
    if (!at_first) server->will(says(nil()));
    for (int i = 0; i < 50; ++i) server->will(away());
    server->holder = 4711;
    TestLock lock = lock_on(server, {.ride_out = true});
    const Error error = error_of([&] { return lock.try_lock_for(at_first ? 1ns : 200ms); });
    const std::string text = error.what();
    EXPECT_TRUE(
        text.starts_with("redlatch: refused; this process holds the key: thread 4711 has "
                         "acquired it: "))
        << text;
    EXPECT_EQ(error.code(), Errc::unreachable);
    EXPECT_EQ(error.server(), "redis://fake:1/0");
  }
}

TEST(LockEvents, OfAnAttemptThatFailedAreNone) {
  const Fake server = fake(away());
  TestLock lock = lock_on(server);
  EXPECT_THROW(static_cast<void>(lock.try_lock()), Error);
  EXPECT_TRUE(server->events.empty());
}

TEST(LockEvents, OfAWaitThatFailedLeaveNobodyWaiting) {
  const Fake server = fake(says(nil()), says(refusal("NOPERM no")));
  TestLock lock = lock_on(server);
  EXPECT_THROW(lock.lock(), Error);
  EXPECT_EQ(server->places.size(), 1U);
  EXPECT_EQ(server->waiting, 0);
}

class LockEnding : public testing::Test {
 protected:
  /// What `unlock` tells.
  std::vector<Happened> told_by_unlock(Answer answer) {
    server->will(std::move(answer));
    static_cast<void>(lock.unlock());
    return {server->events.begin() + 1, server->events.end()};
  }

  Fake server = fake();
  TestLock lock = held_on(server, {.ttl = 10s});
};

TEST_F(LockEnding, OfALockThatIsNotOursIsALoss) {
  const std::vector<Happened> expected{{EventKind::lost, 0ms, {}}};
  EXPECT_EQ(told_by_unlock(says(integer(0))), expected);
}

TEST_F(LockEnding, OfALockWhoseLeaseIsOverIsALoss) {
  server->advance(25s);
  const std::vector<Happened> expected{{EventKind::lost, 10s, {}}};
  EXPECT_EQ(told_by_unlock(says(integer(1))), expected);
}

TEST_F(LockEnding, OfALockWhoseLossWasToldIsNothingNew) {
  server->loss_is_told = true;
  EXPECT_TRUE(told_by_unlock(says(integer(0))).empty());
}

TEST_F(LockEnding, OfALockWhoseLossWasToldIsALossForTheCallerToo) {
  server->loss_is_told = true;
  server->will(says(integer(1)));
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

TEST_F(LockEnding, WithoutAnAnswerIsUnknown) {
  const std::vector<Happened> expected{
      {EventKind::release_unknown, 0ms, make_error_code(Errc::timed_out)}};
  EXPECT_EQ(told_by_unlock(in_doubt()), expected);
  EXPECT_NE(server->details.back().find("no answer"), std::string::npos) << server->details.back();
}

TEST_F(LockEnding, WithoutMemoryIsUnknown) {
  const std::vector<Happened> expected{
      {EventKind::release_unknown, 0ms, std::make_error_code(std::errc::not_enough_memory)}};
  EXPECT_EQ(told_by_unlock(out_of_memory()), expected);
}

TEST_F(LockEnding, ThatNobodyWaitsForIsToldByWhoeverLearnsIt) {
  server->advance(7ms);
  { const TestLock gone = std::move(lock); }
  EXPECT_EQ(kinds(server), std::vector{EventKind::acquired});
  ASSERT_EQ(server->posted.size(), 1U);
  EXPECT_EQ(server->posted[0].held, 7ms);
}

}  // namespace events_test
}  // namespace redlatch::test
