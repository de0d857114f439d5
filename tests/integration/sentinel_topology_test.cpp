// What a client finds out about a primary by what Sentinels say.

#include "net/sentinel_topology.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>

#include "base/url.hpp"
#include "eventually.hpp"
#include "scripted_sentinel.hpp"

namespace redlatch::test {
namespace sentinel_topology_test {

using namespace std::chrono_literals;
using detail::BootClock;

/// Three connections have something to be believed, one behind the other. While two questions are
/// under way, the Sentinel gets no third.
TEST(SentinelTopology, BelievesNoPrimaryForWantOfAQuestionWhereTheSentinelIsSlow) {
  ScriptedSentinel sentinel(1);
  sentinel.lose_questions(3);
  detail::Endpoint endpoint;
  endpoint.service = "orders";
  endpoint.sentinels = {
      {.host = "127.0.0.1", .port = static_cast<std::uint16_t>(std::stoi(sentinel.port()))}};
  const auto topology = std::make_shared<detail::SentinelTopology>(
      endpoint, ClientOptions{.connect_timeout = 1min}, nullptr);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(topology->is_confirmed(BootClock::now())) << i;
    EXPECT_TRUE(passes(150ms));  // an answer counts as new for less
  }
  topology->end();
}

}  // namespace sentinel_topology_test
}  // namespace redlatch::test
