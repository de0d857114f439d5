#include <limits>
#include <thread>

#include "fixture.hpp"

namespace redlatch::test {
namespace waiting_test {

class LockWaiting : public ServerTest {};

TEST_F(LockWaiting, ForNoTimeIsExactlyOneAttempt) {
  const Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  const auto attempts = [&](auto action) {
    const auto before = raw.calls("set");
    EXPECT_FALSE(action());
    return raw.calls("set") - before;
  };
  EXPECT_EQ(attempts([&] { return lock.try_lock_for(0s); }), 1);
  EXPECT_EQ(attempts([&] { return lock.try_lock_for(-1h); }), 1);
  EXPECT_EQ(attempts([&] { return lock.try_lock_for(std::chrono::hours::min()); }), 1);
  EXPECT_EQ(attempts([&] { return lock.try_lock_until(std::chrono::system_clock::now() - 1h); }),
            1);
  EXPECT_EQ(attempts([&] { return lock.try_lock_until(std::chrono::steady_clock::time_point{}); }),
            1);
  EXPECT_EQ(attempts([&] { return lock.try_lock(); }), 1);
}

TEST_F(LockWaiting, ForNoTimeTakesAFreeLockAllTheSame) {
  Lock lock(client, "job", std::defer_lock);
  EXPECT_TRUE(lock.try_lock_for(-1s));
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(std::chrono::system_clock::now() - 1h));
}

TEST_F(LockWaiting, EndsWithFalseAndNotBeforeItsTime) {
  const Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  EXPECT_GE(duration_of([&] { EXPECT_FALSE(lock.try_lock_for(150ms)); }), 150ms);
  const auto end = std::chrono::steady_clock::now() + 150ms;
  EXPECT_FALSE(lock.try_lock_until(end));
  EXPECT_GE(std::chrono::steady_clock::now(), end);
  EXPECT_GE(raw.calls("evalsha"), 2 * 2) << "a wait makes more than one attempt";
}

TEST_F(LockWaiting, EndsWhenTheHolderUnlocks) {
  Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  std::thread waiter([&] { lock.lock(); });
  EXPECT_TRUE(somebody_waits());
  EXPECT_EQ(holder.unlock(), Unlock::released);
  waiter.join();
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(raw.get("job"), lock.token());
}

TEST_F(LockWaiting, EndsWhenTheHoldersLeaseDoes) {
  raw.command({"SET", "job", "a holder that died", "PX", "300"});
  Lock lock(client, "job", std::defer_lock);
  EXPECT_TRUE(lock.try_lock_for(30s));
  EXPECT_EQ(raw.get("job"), lock.token());
}

TEST_F(LockWaiting, EndsWhenTheKeyIsDeletedByHand) {
  const Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  bool held = false;
  std::thread waiter([&] { held = lock.try_lock_for(30s); });
  EXPECT_TRUE(somebody_waits());
  raw.command({"DEL", "job"});
  waiter.join();
  EXPECT_TRUE(held);
}

TEST_F(LockWaiting, ForLongerThanAnyClockCountsIsWaitingWithoutBound) {
  constexpr auto endless = std::chrono::duration<double>(std::numeric_limits<double>::infinity());
  Lock holder(client, "job", long_lease);
  Lock one(client, "job", std::defer_lock);
  Lock other(client, "job", std::defer_lock);
  std::thread waiter([&] { EXPECT_TRUE(one.try_lock_for(std::chrono::hours::max())); });
  EXPECT_TRUE(somebody_waits());
  holder.unlock();
  waiter.join();
  std::thread next([&] { EXPECT_TRUE(other.try_lock_for(endless)); });
  EXPECT_TRUE(somebody_waits());
  one.unlock();
  next.join();
}

/// 317 years are more nanoseconds than 64 bits have room for.
TEST_F(LockWaiting, AsksAsRarelyForALeaseOfCenturiesAsForOneOfAnHour) {
  for (const char* seconds : {"3600", "9999999999"}) {
    SCOPED_TRACE(seconds);
    raw.command({"SET", "job", "a stranger's", "EX", seconds});
    Lock lock(client, "job", std::defer_lock, long_lease);
    raw.command({"CONFIG", "RESETSTAT"});
    EXPECT_FALSE(lock.try_lock_for(1s));
    EXPECT_LT(raw.info("stats", "total_commands_processed:"), 200);
  }
}

TEST_F(LockWaiting, LeavesTheHoldersLeaseAsItIs) {
  const Lock holder(client, "job", {.ttl = 5s});
  const Lock lock(client, "job", 100ms, long_lease);
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(raw.get("job"), holder.token());
  EXPECT_LE(raw.pttl("job"), 5000);
}

TEST_F(LockWaiting, ThrowsWrongTypeForAKeyThatNeverBecomesALock) {
  raw.command({"LPUSH", "job", "work"});
  Lock lock(client, "job", std::defer_lock);
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock_for(1h)); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { const Lock other(client, "job"); }), Errc::wrong_type);
  EXPECT_EQ(raw.command({"LLEN", "job"}).integer, 1);
}

TEST_F(LockWaiting, TakesAStrangersKeyWithoutExpiryForContention) {
  raw.command({"SET", "job", "a stranger"});
  Lock lock(client, "job", std::defer_lock);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(100ms));
  EXPECT_EQ(raw.get("job"), "a stranger");
  EXPECT_EQ(raw.pttl("job"), -1);
  std::thread waiter([&] { lock.lock(); });
  EXPECT_TRUE(somebody_waits());
  raw.command({"DEL", "job"});
  waiter.join();
  EXPECT_TRUE(lock.owns_lock());
}

}  // namespace waiting_test
}  // namespace redlatch::test
