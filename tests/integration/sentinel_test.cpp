// A primary, two replicas and three sentinels.

#include <algorithm>
#include <optional>
#include <string>

#include "fixture.hpp"
#include "sentinel_trio.hpp"

namespace redlatch::test {
namespace sentinel_test {

class SentinelTrioTest : public testing::Test {
 protected:
  /// A write to the primary gets to both replicas.
  void expect_in_step(SentinelTrio& trio) {
    const std::optional<std::size_t> primary = trio.primary();
    ASSERT_TRUE(primary);
    RawClient raw = trio.at_server(*primary);
    EXPECT_EQ(raw.command({"SET", "key", std::to_string(++writes_)}).text, "OK");
    EXPECT_EQ(raw.command({"WAIT", "2", "20000"}).integer, 2);
    for (std::size_t i = 0; i < SentinelTrio::size; ++i) {
      EXPECT_EQ(trio.at_server(i).get("key"), std::to_string(writes_));
    }
  }
  /// For any sentinel.
  static bool no_replica_is_good(SentinelTrio& trio) {
    const auto is_down = [](const RawReply& replica) {
      return std::ranges::any_of(replica.elements, [](const RawReply& one) {
        return one.text.find("s_down") != std::string::npos;
      });
    };
    for (std::size_t i = 0; i < SentinelTrio::size; ++i) {
      const RawReply replicas = trio.at_sentinel(i).command({"SENTINEL", "REPLICAS", "orders"});
      if (!std::ranges::all_of(replicas.elements, is_down)) return false;
    }
    return true;
  }

 private:
  int writes_ = 0;
};

TEST_F(SentinelTrioTest, SurvivesEachKindOfFailover) {
  SentinelTrio trio;
  ASSERT_EQ(trio.primary(), 0U);
  expect_in_step(trio);

  const std::optional<std::size_t> second = trio.fail_over_from(0);
  ASSERT_TRUE(second) << trio.logs();
  ASSERT_TRUE(trio.becomes_healthy());
  expect_in_step(trio);

  trio.server(*second).kill();
  const std::optional<std::size_t> third = trio.switched_from(*second);
  ASSERT_TRUE(third) << trio.logs();
  trio.server(*second).start();
  ASSERT_TRUE(trio.becomes_healthy());
  expect_in_step(trio);

  trio.server(*third).pause();
  ASSERT_TRUE(trio.switched_from(*third)) << trio.logs();
  EXPECT_FALSE(trio.becomes_healthy(100ms));
  trio.server(*third).resume();
  ASSERT_TRUE(trio.becomes_healthy());
  expect_in_step(trio);
}

TEST_F(SentinelTrioTest, GoesOnWithTwoSentinels) {
  SentinelTrio trio;
  trio.sentinel(0).kill();
  EXPECT_EQ(trio.primary(), 0U);
  trio.server(0).kill();
  EXPECT_TRUE(trio.switched_from(0)) << trio.logs();
  trio.server(0).start();
  trio.sentinel(0).start();
  EXPECT_TRUE(trio.becomes_healthy());
}

/// Its replicas stand still while the sentinels look for one to promote.
TEST_F(SentinelTrioTest, FailsOverAlthoughItsSentinelsHaveGivenUp) {
  SentinelTrio trio(TrioOptions{.failover_timeout = 2min});
  for (std::size_t i = 1; i < SentinelTrio::size; ++i) trio.server(i).pause();
  ASSERT_TRUE(eventually([&] { return no_replica_is_good(trio); }));
  trio.server(0).kill();
  ASSERT_TRUE(eventually([&] { return trio.logs().find("-failover-abort") != std::string::npos; }))
      << trio.logs();
  for (std::size_t i = 1; i < SentinelTrio::size; ++i) trio.server(i).resume();
  EXPECT_TRUE(trio.switched_from(0)) << trio.logs();
}

}  // namespace sentinel_test
}  // namespace redlatch::test
