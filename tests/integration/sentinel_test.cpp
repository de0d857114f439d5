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

 private:
  int writes_ = 0;
};

TEST_F(SentinelTrioTest, SurvivesEachKindOfFailover) {
  SentinelTrio trio;
  ASSERT_EQ(trio.primary(), 0U);
  expect_in_step(trio);

  const std::optional<std::size_t> second = trio.fail_over_from(0);
  ASSERT_TRUE(second);
  ASSERT_TRUE(trio.becomes_healthy());
  expect_in_step(trio);

  trio.server(*second).kill();
  const std::optional<std::size_t> third = trio.switched_from(*second);
  ASSERT_TRUE(third);
  trio.server(*second).start();
  ASSERT_TRUE(trio.becomes_healthy());
  expect_in_step(trio);

  trio.server(*third).pause();
  ASSERT_TRUE(trio.switched_from(*third));
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
  EXPECT_TRUE(trio.switched_from(0));
  trio.server(0).start();
  trio.sentinel(0).start();
  EXPECT_TRUE(trio.becomes_healthy());
}

}  // namespace sentinel_test
}  // namespace redlatch::test
