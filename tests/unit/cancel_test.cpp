#include <gtest/gtest.h>

#include <stop_token>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace cancel_test {

class LockCancelled : public testing::Test {
 protected:
  std::stop_source stop{};
  Fake server = fake();
  TestLock lock = lock_on(server);
};

TEST_F(LockCancelled, BeforeTheFirstAttemptAsksNobody) {
  stop.request_stop();
  EXPECT_FALSE(lock.lock(stop.get_token()));
  EXPECT_FALSE(lock.try_lock_for(1s, stop.get_token()));
  EXPECT_FALSE(lock.try_lock_until(std::chrono::steady_clock::now() + 1s, stop.get_token()));
  EXPECT_TRUE(server->calls.empty());
}

TEST_F(LockCancelled, WhileItWaitsAsksNobodyAnyMore) {
  server->will(says(nil()));
  server->on_pause = [&] { stop.request_stop(); };
  EXPECT_FALSE(lock.lock(stop.get_token()));
  EXPECT_EQ(server->calls.size(), 1U);
  EXPECT_EQ(server->pauses.size(), 1U);
}

TEST_F(LockCancelled, WhileItWaitsForSomeTime) {
  server->will(says(nil()));
  server->on_pause = [&] { stop.request_stop(); };
  EXPECT_FALSE(lock.try_lock_for(1h, stop.get_token()));
  EXPECT_EQ(server->calls.size(), 1U);
}

TEST_F(LockCancelled, DuringTheAttemptThatSucceedsIsTooLate) {
  server->will(says(ok()));
  server->on_now = [&] {
    if (!server->calls.empty()) stop.request_stop();
  };
  EXPECT_TRUE(lock.lock(stop.get_token()));
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(LockCancelled, IsNoErrorAlthoughTheServerWasAway) {
  server->will(says(nil()));
  server->will(away());
  server->on_pause = [&] {
    if (server->calls.size() == 2) stop.request_stop();
  };
  EXPECT_FALSE(lock.lock(stop.get_token()));
}

TEST_F(LockCancelled, NeverIsHeld) {
  server->will(says(nil()));
  server->will(says(ok()));
  EXPECT_TRUE(lock.lock(stop.get_token()));
}

TEST_F(LockCancelled, AndHeldIsADeadlockAllTheSame) {
  server->will(says(ok()));
  ASSERT_TRUE(lock.try_lock());
  stop.request_stop();
  EXPECT_THROW(static_cast<void>(lock.lock(stop.get_token())), std::system_error);
}

}  // namespace cancel_test
}  // namespace redlatch::test
