#include "engine/connect_schedule.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

namespace redlatch::test {
namespace connect_schedule_test {

using namespace std::chrono_literals;
using detail::ConnectSchedule;
using detail::TimePoint;

constexpr TimePoint start{1h};

TEST(ConnectSchedule, BeginsWithAnAttemptAtOnce) { EXPECT_LE(ConnectSchedule().next(), start); }

TEST(ConnectSchedule, PausesForTenMillisecondsAtMostAfterTheFirstFailureAndForASecondInTheEnd) {
  ConnectSchedule schedule;
  for (auto ceiling = 10ms; ceiling <= 10s; ceiling *= 2) {
    schedule.failed(start);
    EXPECT_GE(schedule.next(), start + 5ms);
    EXPECT_LE(schedule.next(), start + std::min<std::chrono::milliseconds>(ceiling, 1s));
  }
}

TEST(ConnectSchedule, SpreadsTheAttemptsOfManyClients) {
  std::set<TimePoint> attempts;
  for (int i = 0; i < 100; ++i) {
    ConnectSchedule schedule;
    for (int failures = 0; failures < 10; ++failures) schedule.failed(start);
    attempts.insert(schedule.next());
  }
  EXPECT_GT(attempts.size(), 90U);
  EXPECT_GT(*attempts.rbegin() - *attempts.begin(), 500ms);
}

TEST(ConnectSchedule, BeginsAnewBehindASuccess) {
  ConnectSchedule schedule;
  for (int failures = 0; failures < 10; ++failures) schedule.failed(start);
  schedule.succeeded(start);
  EXPECT_LE(schedule.next(), start);
  schedule.failed(start);
  EXPECT_LE(schedule.next(), start + 10ms);
}

TEST(ConnectSchedule, LetsRenewalsTryMoreOften) {
  ConnectSchedule schedule;
  for (int failures = 0; failures < 20; ++failures) {
    schedule.attempted(start);
    schedule.failed(start);
    EXPECT_LE(schedule.next_for_renewals(), start + 50ms);
    EXPECT_LE(schedule.next_for_renewals(), schedule.next());
  }
}

TEST(ConnectSchedule, TrustsANewConnectionForAWhile) {
  ConnectSchedule schedule;
  schedule.succeeded(start);
  EXPECT_TRUE(schedule.is_trusted(start + 49ms));
  EXPECT_FALSE(schedule.is_trusted(start + 151ms));
}

TEST(ConnectSchedule, OfAForkedChildIsNotInStepWithItsParents) {
  ConnectSchedule parent;
  ConnectSchedule child = parent;
  child.after_fork_in_child(4711);
  bool differs = false;
  for (int failures = 0; failures < 10; ++failures) {
    parent.failed(start);
    child.failed(start);
    differs = differs || parent.next() != child.next();
  }
  EXPECT_TRUE(differs);
}

}  // namespace connect_schedule_test
}  // namespace redlatch::test
