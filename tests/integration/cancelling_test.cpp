#include <atomic>
#include <chrono>
#include <stop_token>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {
namespace cancelling_test {

class LockCancelling : public ServerTest {
 protected:
  Lock holder{client, "job", long_lease};
};

TEST_F(LockCancelling, EndsAWaitWithoutBound) {
  std::stop_source stop;
  std::atomic<bool> held = true;
  std::thread waiter([&] {
    Lock lock(client, "job", std::defer_lock);
    held = lock.lock(stop.get_token());
  });
  EXPECT_TRUE(somebody_waits()) << "it waits";
  stop.request_stop();
  waiter.join();
  EXPECT_FALSE(held);
  EXPECT_EQ(raw.get("job"), holder.token());
}

/// The pause between two attempts ends with it.
TEST_F(LockCancelling, DoesNotWaitForTheHoldersLease) {
  std::stop_source stop;
  Lock lock(client, "job", std::defer_lock);
  std::jthread canceller([&] {
    somebody_waits();
    stop.request_stop();
  });
  const auto time = duration_of([&] { EXPECT_FALSE(lock.try_lock_for(10min, stop.get_token())); });
  EXPECT_LT(time, 30s);
}

TEST_F(LockCancelling, LeavesClientAndLockUsable) {
  Lock lock(client, "job", std::defer_lock);
  for (int i = 0; i < 100; ++i) {
    std::stop_source stop;
    std::jthread canceller([&, i] {
      std::this_thread::sleep_for(std::chrono::microseconds(50 * i));
      stop.request_stop();
    });
    EXPECT_FALSE(lock.lock(stop.get_token()));
    client.ping();
  }
  holder.unlock();
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(LockCancelling, EndsManyWaitsAtOnce) {
  std::stop_source stop;
  std::atomic<int> ended = 0;
  std::vector<std::jthread> waiters;
  for (int i = 0; i < 16; ++i) {
    waiters.emplace_back([&] {
      Lock lock(client, "job", std::defer_lock);
      EXPECT_FALSE(lock.lock(stop.get_token()));
      ++ended;
    });
  }
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 16; }));
  EXPECT_EQ(ended, 0);
  stop.request_stop();
  EXPECT_TRUE(eventually([&] { return ended == 16; }));
}

}  // namespace cancelling_test
}  // namespace redlatch::test
