// `lost_token(other)`: one stop token for a lost lock and for another stop.

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "child.hpp"
#include "fake_executor.hpp"

namespace redlatch::test {
namespace linked_stops_test {

class LockLinkedStops : public testing::Test {
 protected:
  void lose() { executor->kept->lost().request_stop(); }

  Fake executor = fake();
  std::stop_source stop{};
  std::optional<TestLock> lock{held_on(executor)};
};

TEST_F(LockLinkedStops, StopWithTheOtherToken) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  EXPECT_TRUE(both.stop_possible());
  EXPECT_FALSE(both.stop_requested());
  stop.request_stop();
  EXPECT_TRUE(both.stop_requested());
  EXPECT_FALSE(lock->lost_token().stop_requested()) << "the lock is not lost";
}

TEST_F(LockLinkedStops, StopWithALoss) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  lose();
  EXPECT_TRUE(both.stop_requested());
  EXPECT_FALSE(stop.stop_requested());
}

TEST_F(LockLinkedStops, AreStoppedWhereOneIsAlready) {
  std::stop_source other;
  other.request_stop();
  EXPECT_TRUE(lock->lost_token(other.get_token()).stop_requested());
  static_cast<void>(lock->lost_token());
  lose();
  EXPECT_TRUE(lock->lost_token(stop.get_token()).stop_requested());
}

TEST_F(LockLinkedStops, AreTheLossAloneForATokenThatCannotBeStopped) {
  const std::stop_token lost = lock->lost_token({});
  EXPECT_TRUE(lost == lock->lost_token());
  lose();
  EXPECT_TRUE(lost.stop_requested());
}

TEST_F(LockLinkedStops, AreTheOtherTokenWhereNothingIsHeld) {
  TestLock free = lock_on(executor);
  EXPECT_TRUE(free.lost_token(stop.get_token()) == stop.get_token());
  EXPECT_FALSE(free.lost_token({}).stop_possible());
}

TEST_F(LockLinkedStops, AreTheSameForTheSameToken) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(lock->lost_token(stop.get_token()) == both);
  std::stop_source another;
  EXPECT_FALSE(lock->lost_token(another.get_token()) == both);
}

TEST_F(LockLinkedStops, GoWithTheLockThatIsMoved) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  std::optional<TestLock> moved(std::move(*lock));
  lock.reset();
  EXPECT_FALSE(both.stop_requested());
  stop.request_stop();
  EXPECT_TRUE(both.stop_requested());
}

TEST_F(LockLinkedStops, GoWithTheLockThatIsAssigned) {
  const std::stop_token first = lock->lost_token(stop.get_token());
  TestLock other = held_on(executor);
  std::stop_source second_stop;
  const std::stop_token second = other.lost_token(second_stop.get_token());
  *lock = std::move(other);
  stop.request_stop();
  EXPECT_FALSE(first.stop_requested()) << "that lease was released";
  second_stop.request_stop();
  EXPECT_TRUE(second.stop_requested());
}

TEST_F(LockLinkedStops, EndWithTheLease) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  executor->will(says(integer(1)));
  EXPECT_EQ(lock->unlock(), Unlock::released);
  executor->will(says(ok()));
  ASSERT_TRUE(lock->try_lock());
  const std::stop_token of_the_next = lock->lost_token(stop.get_token());
  EXPECT_FALSE(of_the_next == both);
  stop.request_stop();
  EXPECT_FALSE(both.stop_requested());
  EXPECT_TRUE(of_the_next.stop_requested());
}

TEST_F(LockLinkedStops, OutliveTheLock) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  lock.reset();
  stop.request_stop();
  EXPECT_FALSE(both.stop_requested());
}

TEST_F(LockLinkedStops, LetACallbackEndTheLock) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  bool called = false;
  const std::stop_callback ends(both, [&] {
    lock.reset();
    called = true;
  });
  stop.request_stop();
  EXPECT_TRUE(called);
}

/// A callback that takes its time does not keep the lock from ending in another thread.
TEST_F(LockLinkedStops, DoNotHaveTheEndOfTheLockWaitForACallback) {
  const std::stop_token both = lock->lost_token(stop.get_token());
  std::atomic<bool> begun = false;
  std::atomic<bool> ended = false;
  const std::stop_callback slow(both, [&] {
    begun = true;
    begun.notify_all();
    ended.wait(false);
  });
  const std::jthread stopping([&] { stop.request_stop(); });
  begun.wait(false);
  lock.reset();  // would hang here
  ended = true;
  ended.notify_all();
}

/// A thread that the child does not have may have been changing the callbacks of the token.
TEST_F(LockLinkedStops, EndInAForkedChildWhateverItsParentDoesWithTheToken) {
  static_cast<void>(lock->lost_token(stop.get_token()));
  const std::jthread uses([&](const std::stop_token& end) {
    while (!end.stop_requested()) const std::stop_callback callback(stop.get_token(), [] {});
  });
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(in_child([&] {
                lock.reset();
                return 0;
              }),
              0);
  }
}

TEST_F(LockLinkedStops, MayBeStoppedFromAllSidesAtOnce) {
  for (int i = 0; i < 500; ++i) {
    std::stop_source one;
    std::optional<TestLock> held(held_on(executor));
    const std::stop_token both = held->lost_token(one.get_token());
    detail::Lease& lease = *executor->kept;
    const std::stop_source lost = lease.lost();
    std::atomic<int> called = 0;
    const std::stop_callback counts(both, [&] { ++called; });
    std::atomic<bool> go = false;
    {
      const std::jthread stops([&] {
        go.wait(false);
        one.request_stop();
      });
      const std::jthread loses([&, source = lost]() mutable {
        go.wait(false);
        source.request_stop();
      });
      go = true;
      go.notify_all();
      held.reset();
    }
    EXPECT_LE(called, 1);
    EXPECT_EQ(called == 1, both.stop_requested());
  }
}

}  // namespace linked_stops_test
}  // namespace redlatch::test
