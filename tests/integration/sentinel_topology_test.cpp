// What a client finds out about a primary by what Sentinels say.

#include "net/sentinel_topology.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <string>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>

#include "base/io_error.hpp"
#include "base/url.hpp"
#include "descriptor_limit.hpp"
#include "eventually.hpp"
#include "net/transport.hpp"
#include "scripted_sentinel.hpp"

namespace redlatch::test {
namespace sentinel_topology_test {

using namespace std::chrono_literals;
using detail::BootClock;

class SentinelTopology : public testing::Test {
 protected:
  using Topology = detail::SentinelTopology;

  static detail::Endpoint endpoint_of(const std::deque<ScriptedSentinel>& sentinels) {
    detail::Endpoint endpoint;
    endpoint.service = "orders";
    for (const ScriptedSentinel& one : sentinels) {
      const auto port = static_cast<std::uint16_t>(std::stoi(one.port()));
      endpoint.sentinels.push_back({.host = "127.0.0.1", .port = port});
    }
    return endpoint;
  }
  static std::shared_ptr<Topology> topology_of(const std::deque<ScriptedSentinel>& sentinels,
                                               const ClientOptions& options = {
                                                   .connect_timeout = 1min}) {
    return std::make_shared<Topology>(endpoint_of(sentinels), options, nullptr);
  }
  /// Three connections have something to be believed, one behind the other. While two questions are
  /// under way, the Sentinel gets no third.
  static void expect_no_belief(Topology& topology) {
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(topology.is_confirmed(BootClock::now())) << i;
      EXPECT_TRUE(passes(150ms));  // an answer counts as new for less
    }
  }
};

TEST_F(SentinelTopology, BelievesNoPrimaryForWantOfAQuestionWhereTheSentinelIsSlow) {
  std::deque<ScriptedSentinel> sentinels;
  sentinels.emplace_back(1).lose_questions(3);
  const auto topology = topology_of(sentinels);
  expect_no_belief(*topology);
  topology->end();
}

TEST_F(SentinelTopology, BelievesNoPrimaryForWantOfAQuestionWhereAddressesTakeLongToTranslate) {
  std::deque<ScriptedSentinel> sentinels;
  sentinels.emplace_back(1).know_no_other();
  std::promise<void> end;
  const std::shared_future<void> ended = end.get_future().share();
  const auto topology = topology_of(
      sentinels, {.connect_timeout = 1min, .map_address = [ended](const Address& address) {
                    ended.wait();
                    return address;
                  }});
  expect_no_belief(*topology);
  end.set_value();
  topology->end();
}

/// The numbers of descriptors that may be opened still.
class SentinelTopologyWithDescriptors : public SentinelTopology,
                                        public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Left, SentinelTopologyWithDescriptors, testing::Values(0, 1, 2));

TEST_P(SentinelTopologyWithDescriptors, BelievesNoPrimaryForWantOfThem) {
  std::deque<ScriptedSentinel> sentinels;
  sentinels.emplace_back(1).lose_questions(1 << 20);
  const auto topology = topology_of(sentinels);
  EXPECT_FALSE(topology->is_confirmed(BootClock::now()));
  EXPECT_TRUE(eventually([&] { return sentinels.front().connections() == 1; }));
  EXPECT_TRUE(passes(150ms));
  const int next = ::dup(STDERR_FILENO);
  ASSERT_GE(next, 0);
  ::close(next);
  bool is_believed = false;
  {
    const DescriptorLimit scarce(static_cast<rlim_t>(next + GetParam()));
    const auto since = BootClock::now();
    for (int i = 0; i < 3; ++i) {
      is_believed |= topology->is_confirmed(since);
      EXPECT_TRUE(passes(50ms));
    }
  }
  EXPECT_FALSE(is_believed);
  topology->end();
}

TEST_F(SentinelTopology, SaysThatNoSentinelCanBeAskedForWantOfADescriptor) {
  std::deque<ScriptedSentinel> sentinels;
  sentinels.emplace_back(1).know_no_other();
  const auto topology = topology_of(sentinels);
  const auto since = BootClock::now();
  std::string why;
  {
    const DescriptorLimit none(3);
    try {
      topology->confirm(since, since + 50ms, detail::never_cancelled);
    } catch (const detail::IoError& error) {
      why = error.what();
    }
  }
  EXPECT_EQ(why,
            "no Sentinel has said in time whether the primary was replaced: no thread can be "
            "started to ask a Sentinel (Too many open files)");
  EXPECT_TRUE(eventually([&] { return topology->is_confirmed(since); }));
  topology->end();
}

/// The other one that is listened to has not heard of the failover, perhaps.
TEST_F(SentinelTopology, AsksASentinelAsItIsNotListenedToAnyMore) {
  std::deque<ScriptedSentinel> sentinels;
  for (int i = 0; i < 2; ++i) sentinels.emplace_back(1).know_no_other();
  const auto topology = topology_of(sentinels);
  const auto is_trusted = [&] {
    topology->attend();
    return topology->is_trusted(BootClock::now());
  };
  EXPECT_TRUE(eventually([&] {
    return is_trusted() && std::ranges::all_of(sentinels, &ScriptedSentinel::is_pinged_by_listener);
  }));
  sentinels.back().lose_questions(1 << 20);
  sentinels.back().hang_up();
  EXPECT_TRUE(eventually([&] { return !is_trusted(); }));
  EXPECT_FALSE(topology->is_confirmed(BootClock::now()));
  sentinels.back().lose_questions(0);
  sentinels.back().hang_up();
  EXPECT_TRUE(eventually(is_trusted));
  topology->end();
}

}  // namespace sentinel_topology_test
}  // namespace redlatch::test
