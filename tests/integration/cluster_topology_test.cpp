// What a client of a cluster finds out about a node by what others say.

#include "net/cluster_topology.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>

#include "base/closings.hpp"
#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "base/url.hpp"
#include "net/connection.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace cluster_topology_test {

using namespace std::chrono_literals;
using detail::BootClock;
using detail::TimePoint;

/// A primary with a replica, and one that is silent. The thread that looks whether the first one
/// is to be believed has to connect to the silent one in between, each time for longer than there
/// may be between two looks unless the process was stopped.
TEST(ClusterTopology, BelievesANodeAlthoughItsThreadWaitsForAnotherOneBetweenLooks) {
  constexpr std::size_t replica = 1;
  constexpr std::size_t silent = 2;
  std::array<int, 3> ports{};
  const auto entry = [&](std::size_t node) {
    return resp::array({resp::bulk("127.0.0.1"), resp::integer(ports[node])});
  };
  const auto answer = [&](const ScriptedRequest& request) {
    if (!request.is("CLUSTER")) return request.is("CONFIG") ? resp::array({}) : resp::ok;
    if (request.words[1] == "NODES") return resp::bulk("");
    return resp::array(
        {resp::array({resp::integer(0), resp::integer(8191), entry(0), entry(replica)}),
         resp::array({resp::integer(8192), resp::integer(16383), entry(silent)})});
  };
  std::array<std::optional<ScriptedServer>, 3> servers;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    servers[i].emplace([&, i](const ScriptedRequest& request) {
      return i == silent ? std::string() : answer(request);
    });
    const std::string url = servers[i]->url();
    ports[i] = std::stoi(url.substr(url.rfind(':') + 1));
  }
  detail::Endpoint endpoint;
  endpoint.nodes = {{.host = "127.0.0.1", .port = static_cast<std::uint16_t>(ports[0])}};
  const ClientOptions options{.connect_timeout = 1min};
  const auto cluster =
      std::make_shared<detail::ClusterTopology>(endpoint, options, nullptr, nullptr);
  EXPECT_THROW(cluster->locate(BootClock::now() + 1min, -1), detail::NodesLearned);
  const auto primary = cluster->node(cluster->node_of("b"));
  const detail::Settings settings{.endpoint = {},
                                  .options = options,
                                  .server = {},
                                  .role = {.only_login = true},
                                  .topology = cluster->node(cluster->node_of("a")),
                                  .closings = std::make_shared<detail::Closings>()};
  const TimePoint since = BootClock::now();
  std::size_t looks = 1;
  for (; looks < 20 && !primary->is_confirmed(since); ++looks) {
    EXPECT_THROW(detail::connect(settings, BootClock::now() + 300ms, -1), detail::IoError);
  }
  EXPECT_LT(looks, 20U);
  cluster->end();
}

}  // namespace cluster_topology_test
}  // namespace redlatch::test
