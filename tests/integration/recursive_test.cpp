// A RecursiveLock is held by its owner as often as it likes.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"
#include "family.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace recursive_test {

class RecursiveLockRecursion : public QueueTest {
 protected:
  std::int64_t holds() { return raw.command({"ZCARD", "job"}).integer; }
  bool is_free_for_another() {
    return elsewhere([&] { return RecursiveLock(client, "job", std::try_to_lock).owns_lock(); });
  }

  RecursiveLock outer{client, "job", std::defer_lock, long_lease};
  RecursiveLock inner{client, "job", std::defer_lock, long_lease};
};

TEST_F(RecursiveLockRecursion, HoldsTwiceInOneThreadAndNotInAnother) {
  outer.lock();
  inner.lock();
  EXPECT_TRUE(outer.owns_lock() && inner.owns_lock());
  EXPECT_NE(outer.token(), inner.token());
  EXPECT_EQ(holds(), 2);
  EXPECT_FALSE(is_free_for_another());
}

TEST_F(RecursiveLockRecursion, IsFreeAfterAsManyUnlocksAsLocksInAnyOrder) {
  for (RecursiveLock* first : {&outer, &inner}) {
    RecursiveLock& last = first == &outer ? inner : outer;
    outer.lock();
    inner.lock();
    EXPECT_EQ(first->unlock(), Unlock::released);
    EXPECT_TRUE(last.verify());
    EXPECT_FALSE(is_free_for_another());
    EXPECT_EQ(last.unlock(), Unlock::released);
    EXPECT_TRUE(is_free_for_another());
  }
}

TEST_F(RecursiveLockRecursion, CountsTheHoldsOfTheOwner) {
  EXPECT_EQ(outer.hold_count(), 0);
  outer.lock();
  EXPECT_EQ(outer.hold_count(), 1);
  inner.lock();
  EXPECT_EQ(outer.hold_count(), 2);
  EXPECT_EQ(inner.hold_count(), 2);
  EXPECT_EQ(RecursiveLock(client, "job", std::defer_lock).hold_count(), 2);
  EXPECT_EQ(elsewhere([&] { return outer.hold_count(); }), 2) << "of who holds it";
  EXPECT_EQ(elsewhere([&] { return RecursiveLock(client, "job", std::defer_lock).hold_count(); }),
            0);
  EXPECT_EQ(RecursiveLock(client, "job", Owner{"x"}, std::defer_lock).hold_count(), 0);
  inner.unlock();
  outer.unlock();
  EXPECT_EQ(outer.hold_count(), 0);
}

TEST_F(RecursiveLockRecursion, CountsWhateverTheClient) {
  Client other = another();
  outer.lock();
  const RecursiveLock second(other, "job", std::try_to_lock);
  EXPECT_TRUE(second);
  EXPECT_EQ(outer.hold_count(), 2);
}

TEST_F(RecursiveLockRecursion, ThrowsWhenTheServerDoesNotSayHowMany) {
  ClientOptions hasty = patient();
  hasty.connect_timeout = 200ms;
  Client other(server.url(), hasty);
  const RecursiveLock lock(other, "job", std::defer_lock);
  server.kill();
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.hold_count()); }), Errc::unreachable);
}

TEST_F(RecursiveLockRecursion, ThrowsForTheCountOfAKeyThatIsNoLock) {
  raw.command({"SET", "job", "something"});
  EXPECT_EQ(error_of([&] { static_cast<void>(outer.hold_count()); }), Errc::wrong_type);
}

TEST_F(RecursiveLockRecursion, IsHeldOnceByOneObject) {
  outer.lock();
  EXPECT_EQ(error_of([&] { outer.lock(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(outer.hold_count(), 1);
}

TEST_F(RecursiveLockRecursion, IsForAnOwnerWhoIsNamedInAnyThread) {
  const RecursiveLock mine(client, "job", Owner{"worker-7"}, long_lease);
  const RecursiveLock theirs =
      elsewhere([&] { return RecursiveLock(client, "job", Owner{"worker-7"}, 5s, long_lease); });
  EXPECT_TRUE(theirs);
  EXPECT_EQ(theirs.hold_count(), 2);
  EXPECT_FALSE(RecursiveLock(client, "job", Owner{"worker-8"}, std::try_to_lock));
  EXPECT_FALSE(RecursiveLock(client, "job", std::try_to_lock)) << "the thread is another owner";
}

TEST_F(RecursiveLockRecursion, IsForAnOwnerWhoIsNamedInAnyProcess) {
  const SharedMemory<std::atomic<int>> step;
  Child other([&] {
    Client own(server.url(), patient());
    eventually([&] { return *step == 1; }, 60s);
    if (RecursiveLock(own, "job", Owner{"stranger"}, std::try_to_lock)) return;
    const RecursiveLock lock(own, "job", Owner{"x"}, long_lease);
    *step = lock.hold_count() == 2 ? 2 : -1;
    eventually([&] { return *step == 3; }, 60s);
  });
  RecursiveLock lock(client, "job", Owner{"x"}, long_lease);
  *step = 1;
  ASSERT_TRUE(eventually([&] { return *step == 2; }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(is_free_for_another());
  *step = 3;
  EXPECT_EQ(other.wait(), 0);
  EXPECT_TRUE(eventually([&] { return is_free_for_another(); }));
}

TEST_F(RecursiveLockRecursion, EndsForEachHoldByItself) {
  RecursiveLock longer(client, "job", {.ttl = 20s, .auto_renew = false});
  RecursiveLock shorter(client, "job", {.ttl = 1s, .auto_renew = false});
  EXPECT_EQ(holds(), 2);
  EXPECT_TRUE(eventually([&] { return longer.hold_count() == 1; }));
  EXPECT_FALSE(shorter.owns_lock());
  EXPECT_EQ(shorter.unlock(), Unlock::lost);
  EXPECT_TRUE(longer.verify());
  EXPECT_FALSE(is_free_for_another());
}

TEST_F(RecursiveLockRecursion, IsNotRenewedByOtherHoldsOfTheOwner) {
  RecursiveLock silent(client, "job", {.ttl = 1s, .auto_renew = false});
  RecursiveLock renewed(client, "job", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return renewed.hold_count() == 1; }));
  EXPECT_TRUE(renewed.verify());
  EXPECT_EQ(renewed.unlock(), Unlock::released);
  EXPECT_TRUE(is_free_for_another());
}

TEST_F(RecursiveLockRecursion, OfAProcessThatWasKilledEndsWhileOthersOfItsOwnerGoOn) {
  const SharedMemory<std::atomic<bool>> is_held;
  Child dead([&] {
    Client own(server.url(), patient());
    const RecursiveLock lock(own, "job", Owner{"x"}, {.ttl = 1s});
    *is_held = true;
    eventually([] { return false; }, 60s);
  });
  ASSERT_TRUE(eventually([&] { return is_held->load(); }));
  RecursiveLock alive(client, "job", Owner{"x"}, {.ttl = 1s});
  EXPECT_EQ(alive.hold_count(), 2);
  dead.kill();
  EXPECT_TRUE(eventually([&] { return alive.hold_count() == 1; }));
  ContenderOf<RecursiveLock> other(another(), long_lease, Owner{"y"});
  ASSERT_TRUE(is_queued(1));
  EXPECT_EQ(alive.unlock(), Unlock::released);
  EXPECT_TRUE(other.has_it());
}

TEST_F(RecursiveLockRecursion, OvertakesThoseWhoWait) {
  outer.lock();
  Rival<RecursiveLock> waiting(another());
  ASSERT_TRUE(is_queued(1));
  EXPECT_TRUE(inner.try_lock());
  RecursiveLock third(client, "job", std::defer_lock, long_lease);
  third.lock();
  EXPECT_EQ(queued(), 1);
  EXPECT_FALSE(waiting.held);
  third.unlock();
  inner.unlock();
  outer.unlock();
  EXPECT_TRUE(waiting.has_it());
}

/// Two threads of one owner with a stranger in between: the second thread may be who the first one
/// waits for, with the lock in hand.
TEST_F(RecursiveLockRecursion, LetsTheOwnersOtherThreadsInAlsoWhenTheyWaitBehindAStranger) {
  outer.lock();
  ContenderOf<RecursiveLock> first(another(), long_lease, Owner{"x"});
  ASSERT_TRUE(is_queued(1));
  Rival<RecursiveLock> stranger(another());
  ASSERT_TRUE(is_queued(2));
  ContenderOf<RecursiveLock> second(another(), long_lease, Owner{"x"});
  ASSERT_TRUE(is_queued(3));
  outer.unlock();
  ASSERT_TRUE(first.has_it());
  ASSERT_TRUE(second.has_it());
  EXPECT_EQ(first.lock.hold_count(), 2);
  EXPECT_EQ(queued(), 1);
  first.ends();
  EXPECT_FALSE(stranger.held);
  second.ends();
  EXPECT_TRUE(stranger.has_it());
}

TEST_F(RecursiveLockRecursion, LetsAllOfAnOwnerInThatWaitAtTheHeadOfTheQueue) {
  outer.lock();
  ContenderOf<RecursiveLock> first(another(), long_lease, Owner{"x"});
  ContenderOf<RecursiveLock> second(another(), long_lease, Owner{"x"});
  ASSERT_TRUE(is_queued(2));
  outer.unlock();
  EXPECT_TRUE(first.has_it() && second.has_it());
  EXPECT_EQ(holds(), 2);
}

TEST_F(RecursiveLockRecursion, NumbersEachHold) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  const RecursiveLock first(client, "job", fenced);
  const RecursiveLock second(client, "job", fenced);
  EXPECT_GT(second.fencing_token(), first.fencing_token());
}

}  // namespace recursive_test
}  // namespace redlatch::test
