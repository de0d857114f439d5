#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include <redlatch/detail/backoff.hpp>

namespace redlatch::detail {
namespace backoff_test {

using namespace std::chrono_literals;

std::vector<Backoff::duration> pauses(std::size_t count,
                                      std::optional<Backoff::duration> life = std::nullopt) {
  Backoff backoff;
  std::vector<Backoff::duration> all(count);
  for (auto& pause : all) pause = backoff.next(life);
  return all;
}

TEST(Backoff, StaysBetweenOneAndAHundredMilliseconds) {
  for (const auto pause : pauses(2000)) {
    EXPECT_GE(pause, 1ms);
    EXPECT_LE(pause, 100ms);
  }
}

TEST(Backoff, DoublesItsCeiling) {
  for (int round = 0; round < 200; ++round) {
    Backoff::duration ceiling = 1ms;
    for (const auto pause : pauses(10)) {
      ceiling *= 2;
      EXPECT_LE(pause, ceiling);
    }
  }
}

TEST(Backoff, ReachesTheUpperHalfOfItsCeiling) {
  const auto all = pauses(1000);
  EXPECT_GT(*std::max_element(all.begin(), all.end()), 90ms);
  EXPECT_LT(*std::min_element(all.begin() + 10, all.end()), 10ms);
}

TEST(Backoff, UsesEveryCeilingOnItsWay) {
  std::vector<Backoff::duration> longest(7);
  for (int round = 0; round < 300; ++round) {
    const auto all = pauses(longest.size());
    for (std::size_t i = 0; i < all.size(); ++i) longest[i] = std::max(longest[i], all[i]);
  }
  Backoff::duration ceiling = 1ms;
  for (const auto pause : longest) {
    ceiling = std::min<Backoff::duration>(2 * ceiling, 100ms);
    EXPECT_GT(pause, ceiling * 3 / 4);
  }
}

TEST(Backoff, DiffersFromOneWaiterToTheNext) { EXPECT_NE(pauses(8), pauses(8)); }

TEST(Backoff, EndsALittleAfterWhatIsWaitedFor) {
  const auto all = pauses(1000, 3ms);
  EXPECT_LE(*std::max_element(all.begin(), all.end()), 4ms);
  EXPECT_GE(*std::max_element(all.begin(), all.end()), 3ms);
}

TEST(Backoff, IsNotInStepWhenALeaseEnds) {
  const auto all = pauses(1000, 0ms);
  EXPECT_LE(*std::max_element(all.begin(), all.end()), 1ms);
  EXPECT_GT(*std::max_element(all.begin(), all.end()), *std::min_element(all.begin(), all.end()));
}

TEST(Backoff, IsNotProlongedByALongLife) {
  for (const auto pause : pauses(1000, 24h)) EXPECT_LE(pause, 100ms);
}

}  // namespace backoff_test
}  // namespace redlatch::detail
