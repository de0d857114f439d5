#include <atomic>
#include <barrier>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "fixture.hpp"

namespace redlatch::test {
namespace timed_lockable_test {

using LockTimedLockable = ServerTest;

TEST_F(LockTimedLockable, TryLockUntilTakesAnyClock) {
  Lock lock(client, "job", std::defer_lock);
  EXPECT_TRUE(lock.try_lock_until(std::chrono::steady_clock::now() + 1s));
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(std::chrono::system_clock::now() + 1s));
}

TEST_F(LockTimedLockable, StdUniqueLockHoldsALock) {
  Lock lock(client, "job", std::defer_lock);
  {
    std::unique_lock<Lock> guard(lock, 1s);
    EXPECT_TRUE(guard.owns_lock());
    EXPECT_EQ(raw.get("job"), lock.token());
    guard.unlock();
    EXPECT_FALSE(raw.exists("job"));
    EXPECT_TRUE(guard.try_lock());
  }
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockTimedLockable, StdScopedLockHoldsSeveral) {
  Lock one(client, "job:1", std::defer_lock);
  Lock two(client, "job:2", std::defer_lock);
  Lock three(client, "job:3", std::defer_lock);
  {
    const std::scoped_lock guard(one, two, three);
    EXPECT_TRUE(one && two && three);
    EXPECT_EQ(raw.command({"DBSIZE"}).integer, 3);
  }
  EXPECT_EQ(raw.command({"DBSIZE"}).integer, 0);
}

TEST_F(LockTimedLockable, StdTryLockNamesTheOneThatWasTaken) {
  const Lock holder(client, "job:2");
  Lock one(client, "job:1", std::defer_lock);
  Lock two(client, "job:2", std::defer_lock);
  EXPECT_EQ(std::try_lock(one, two), 1);
  EXPECT_FALSE(raw.exists("job:1"));
}

TEST_F(LockTimedLockable, StdLockTakesTwoInEitherOrderWithoutDeadlock) {
  constexpr int rounds = 50;
  std::barrier start(2);
  std::atomic<int> inside = 0;
  std::atomic<int> together = 0;
  const auto work = [&](const char* first_key, const char* second_key) {
    Lock first(client, first_key, std::defer_lock);
    Lock second(client, second_key, std::defer_lock);
    start.arrive_and_wait();
    for (int i = 0; i < rounds; ++i) {
      std::lock(first, second);
      if (++inside > 1) ++together;
      std::this_thread::yield();
      --inside;
      first.unlock();
      second.unlock();
    }
  };
  std::thread other(work, "job:2", "job:1");
  work("job:1", "job:2");
  other.join();
  EXPECT_EQ(together, 0);
}

TEST_F(LockTimedLockable, StdConditionVariableAnyLetsGoWhileItWaits) {
  std::condition_variable_any changed;
  std::atomic<bool> ready = false;
  Lock waiting(client, "job", long_lease);
  std::thread other([&] {
    Lock lock(client, "job");  // only to be had once the wait has let go
    ready = true;
    lock.unlock();
    changed.notify_one();
  });
  changed.wait(waiting, [&] { return ready.load(); });
  EXPECT_TRUE(waiting.owns_lock());
  EXPECT_EQ(raw.get("job"), waiting.token());
  other.join();
}

}  // namespace timed_lockable_test
}  // namespace redlatch::test
