// Waits with `LockOptions::ride_out`, which begin while the server is away.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <stop_token>
#include <utility>
#include <vector>

#include <redlatch/protocol/fair.hpp>
#include <redlatch/protocol/majority.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace ride_out_test {

using TestFair = TestLockOf<protocol::Fair>;
using TestMajority = TestLockOf<protocol::Majority>;

constexpr Errc ridden_out[] = {Errc::unreachable, Errc::timed_out, Errc::not_writable,
                               Errc::no_quorum};
constexpr Errc final[] = {Errc::authentication_failed, Errc::not_permitted, Errc::wrong_type,
                          Errc::protocol_error,        Errc::unsupported,   Errc::invalid_argument};

Answer fails(Errc code) { return {.failure = Error(code, "told to", "redis://fake:1/0")}; }

TestLock patient_on(const Fake& executor) { return lock_on(executor, {.ride_out = true}); }

/// Each way to wait.
const std::vector<std::function<bool(TestLock&)>> waits{
    [](TestLock& lock) {
      lock.lock();
      return lock.owns_lock();
    },
    [](TestLock& lock) { return lock.lock(std::stop_source().get_token()); },
    [](TestLock& lock) { return lock.try_lock_for(1h); },
    [](TestLock& lock) {
      return lock.try_lock_until(std::chrono::steady_clock::now() + 1h,
                                 std::stop_source().get_token());
    }};

TEST(LockRideOut, BeginsWithTheFirstAttemptOfEachWait) {
  for (const auto& wait : waits) {
    for (const Errc code : ridden_out) {
      const Fake executor =
          fake(fails(code), fails(code), says(ok(), integer(9), status("string")));
      TestLock lock = patient_on(executor);
      EXPECT_TRUE(wait(lock));
      EXPECT_EQ(executor->calls.size(), 3U);
      EXPECT_EQ(executor->pauses.size(), 2U);
    }
  }
}

TEST(LockRideOut, IsForRepliesThatSayThatTheServerCannotWrite) {
  const Fake executor = fake(says(refusal("LOADING Redis is loading the dataset in memory")),
                             says(ok(), integer(9), status("string")));
  TestLock lock = patient_on(executor);
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
}

TEST(LockRideOut, IsNotForSingleAttempts) {
  for (const Errc code : ridden_out) {
    const Fake executor = fake(fails(code), fails(code), fails(code));
    TestLock lock = patient_on(executor);
    EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), code);
    EXPECT_EQ(error_of([&] { return lock.try_lock_for(0s); }).code(), code);
    EXPECT_EQ(error_of([&] { return lock.try_lock_for(-1s); }).code(), code);
  }
}

TEST(LockRideOut, ThrowsAnyOtherErrorAtOnce) {
  for (const Errc code : final) {
    for (const bool at_first : {true, false}) {
      const Fake executor = fake(fails(at_first ? code : Errc::unreachable), fails(code));
      TestLock lock = patient_on(executor);
      EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), code);
      EXPECT_EQ(executor->calls.size(), at_first ? 1U : 2U);
    }
  }
}

TEST(LockRideOut, EndsWithTheLastErrorWhenTheTimeOfABoundedWaitIsOver) {
  const Fake executor = fake(fails(Errc::unreachable));
  for (int i = 0; i < 100; ++i) executor->will(fails(Errc::not_writable));
  TestLock lock = patient_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(300ms); }).code(), Errc::not_writable);
  EXPECT_EQ(executor->calls.back().at, executor->calls.front().at + 300ms);
}

TEST(LockRideOut, EndsWithTheErrorOfAFirstAttemptThatTakesAllOfTheTime) {
  const Fake executor = fake(fails(Errc::timed_out).after(1s));
  TestLock lock = patient_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(300ms); }).code(), Errc::timed_out);
  EXPECT_EQ(executor->calls.size(), 1U);
}

TEST(LockRideOut, EndsWithoutAnErrorWhenAStopIsRequested) {
  for (const bool bounded : {true, false}) {
    const Fake executor = fake(fails(Errc::unreachable), fails(Errc::unreachable));
    TestLock lock = patient_on(executor);
    std::stop_source stop;
    executor->on_pause = [&] {
      if (executor->calls.size() == 2) stop.request_stop();
    };
    EXPECT_FALSE(bounded ? lock.try_lock_for(1h, stop.get_token()) : lock.lock(stop.get_token()));
    EXPECT_EQ(executor->calls.size(), 2U);
  }
}

TEST(LockRideOut, EndsAtAStopDuringTheFirstAttempt) {
  const Fake executor = fake(fails(Errc::unreachable));
  TestLock lock = patient_on(executor);
  std::stop_source stop;
  executor->on_now = [&] {
    if (!executor->calls.empty()) stop.request_stop();
  };
  EXPECT_FALSE(lock.lock(stop.get_token()));
  EXPECT_EQ(executor->calls.size(), 1U);
}

/// By the back-off of a wait: at most 100 ms, 50 ms on average.
TEST(LockRideOut, PausesBetweenTheAttempts) {
  const Fake executor = fake();
  for (int i = 0; i < 2000; ++i) executor->will(fails(Errc::unreachable));
  TestLock lock = patient_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(30s); }).code(), Errc::unreachable);
  EXPECT_LT(executor->calls.size(), 30s / 25ms);
  for (std::size_t i = 0; i + 1 < executor->pauses.size(); ++i) EXPECT_GE(executor->pauses[i], 1ms);
}

TEST(LockRideOut, IsNoContention) {
  const Fake executor = fake(fails(Errc::unreachable), fails(Errc::timed_out),
                             says(ok(), integer(9), status("string")));
  TestLock lock = patient_on(executor);
  lock.lock();
  ASSERT_EQ(executor->events.size(), 3U);
  EXPECT_EQ(executor->events[0].kind, EventKind::attempt_failed);
  EXPECT_EQ(executor->events[0].error, Errc::unreachable);
  EXPECT_EQ(executor->events[1].kind, EventKind::attempt_failed);
  EXPECT_EQ(executor->events[1].error, Errc::timed_out);
  EXPECT_EQ(executor->events[2].kind, EventKind::acquired);
}

TEST(LockRideOut, IsContentionOnceTheServerSaysSo) {
  const Fake executor = fake(fails(Errc::unreachable), says(nil(), integer(5), status("string")),
                             says(ok(), integer(9)));
  TestLock lock = patient_on(executor);
  lock.lock();
  ASSERT_EQ(executor->events.size(), 3U);
  EXPECT_EQ(executor->events[0].kind, EventKind::attempt_failed);
  EXPECT_EQ(executor->events[1].kind, EventKind::contended);
}

/// A lock in doubt is released before the next attempt asks, which has a token of its own.
TEST(LockRideOut, HandsOverAReleaseWithEachAttempt) {
  const Fake executor = fake(in_doubt(), says(ok(), integer(9), status("string")));
  TestLock lock = patient_on(executor);
  lock.lock();
  ASSERT_TRUE(executor->calls[0].cleanup.has_value());
  EXPECT_EQ(executor->calls[0].cleanup->command,
            "RELEASE job " + token_in(executor->calls[0].commands[0]));
  EXPECT_NE(token_in(executor->calls[0].commands[0]), lock.token());
}

TEST(FairLockRideOut, BeginsWithTheFirstAttempt) {
  for (const Errc code : ridden_out) {
    const Fake executor = fake(fails(code), fails(code), says(ok(), integer(9), status("string")));
    TestFair lock(executor, protocol::Fair("job", false), {.ride_out = true});
    lock.lock();
    EXPECT_TRUE(lock.owns_lock());
  }
}

/// A connection for the queue that is refused, by a wrong password for instance, must not hide why.
TEST(FairLockRideOut, ThrowsTheErrorOfTheServerAndNotThatOfTheQueue) {
  const Fake executor = fake(fails(Errc::unreachable), fails(Errc::authentication_failed));
  executor->address.is_refused = true;
  TestFair lock(executor, protocol::Fair("job", false), {.ride_out = true});
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), Errc::authentication_failed);
}

TEST(RedlockRideOut, IsForAMissingMajority) {
  for (const bool rides_out : {true, false}) {
    const Fake executor = fake_servers(servers("aya"));
    for (const std::size_t server : {0U, 1U, 2U}) executor->will(away(), server);
    for (const std::size_t server : {0U, 1U, 2U})
      executor->will(says(ok(), integer(9), status("string")), server);
    TestMajority lock(executor, protocol::Majority("job", false), {.ride_out = rides_out});
    if (rides_out) {
      EXPECT_TRUE(lock.try_lock_for(1h));
    } else {
      EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), Errc::no_quorum);
    }
  }
}

}  // namespace ride_out_test
}  // namespace redlatch::test
