#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>

#include <redlatch/detail/wait.hpp>

namespace redlatch::detail {
namespace wait_time_test {

using namespace std::chrono_literals;

constexpr TimePoint now{1'000'000s};

template <class Rep, class Period = std::ratio<1>>
using Duration = std::chrono::duration<Rep, Period>;

TEST(LockWaitTime, IsAddedToNow) {
  EXPECT_EQ(end_of(5s, now), now + 5s);
  EXPECT_EQ(end_of(250ms, now), now + 250ms);
  EXPECT_EQ(end_of(1h, now), now + 1h);
}

TEST(LockWaitTime, IsOverWhenItIsNotPositive) {
  EXPECT_EQ(end_of(0s, now), now);
  EXPECT_EQ(end_of(-1ns, now), now);
  EXPECT_EQ(end_of(std::chrono::nanoseconds::min(), now), now);
  EXPECT_EQ(end_of(std::chrono::hours::min(), now), now);
  EXPECT_EQ(end_of(std::chrono::years::min(), now), now);
}

TEST(LockWaitTime, NeverEndsWhenItIsHuge) {
  EXPECT_EQ(end_of(std::chrono::nanoseconds::max(), now), std::nullopt);
  EXPECT_EQ(end_of(std::chrono::milliseconds::max(), now), std::nullopt);
  EXPECT_EQ(end_of(std::chrono::hours::max(), now), std::nullopt);
  EXPECT_EQ(end_of(std::chrono::years::max(), now), std::nullopt);
  EXPECT_EQ(end_of(Duration<std::uint64_t>::max(), now), std::nullopt);
}

TEST(LockWaitTime, EndsWhenItIsALittleLessThanACentury) {
  const auto end = end_of(std::chrono::hours(24 * 365 * 99), now);
  ASSERT_TRUE(end.has_value());
  EXPECT_GT(*end, now + std::chrono::hours(24 * 365 * 98));
}

TEST(LockWaitTime, TakesFloatingPoint) {
  using Seconds = Duration<double>;
  EXPECT_EQ(end_of(Seconds(0.5), now), now + 500ms);
  EXPECT_EQ(end_of(Seconds(-0.5), now), now);
  EXPECT_EQ(end_of(Seconds(std::numeric_limits<double>::max()), now), std::nullopt);
  EXPECT_EQ(end_of(Seconds(std::numeric_limits<double>::lowest()), now), now);
  EXPECT_EQ(end_of(Duration<float>(0.25F), now), now + 250ms);
  EXPECT_EQ(end_of(Duration<long double>(2), now), now + 2s);
}

TEST(LockWaitTime, NeverEndsWhenItIsInfinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(end_of(Duration<double>(infinity), now), std::nullopt);
  EXPECT_EQ(end_of(Duration<double, std::milli>(infinity), now), std::nullopt);
}

TEST(LockWaitTime, IsOverWhenItIsMinusInfinite) {
  EXPECT_EQ(end_of(Duration<double>(-std::numeric_limits<double>::infinity()), now), now);
}

TEST(LockWaitTime, IsOverWhenItIsNotANumber) {
  EXPECT_EQ(end_of(Duration<double>(std::numeric_limits<double>::quiet_NaN()), now), now);
}

TEST(LockWaitTime, KeepsWholeMilliseconds) {
  for (int i = 1; i < 2000; ++i) {
    const std::chrono::milliseconds wait(i);
    const auto end = end_of(wait, now);
    ASSERT_TRUE(end.has_value());
    EXPECT_LE(*end, now + wait);
    EXPECT_GE(*end, now + wait - 1ns);
  }
}

}  // namespace wait_time_test
}  // namespace redlatch::detail
