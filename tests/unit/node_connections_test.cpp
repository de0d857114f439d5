#include "engine/node_connections.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <string_view>
#include <vector>

#include <redlatch/detail/executor.hpp>
#include <redlatch/protocol/command.hpp>

#include "background/background.hpp"
#include "base/event_source.hpp"
#include "base/io_error.hpp"
#include "base/routes.hpp"
#include "base/settings.hpp"
#include "net/topology.hpp"

namespace redlatch::test::node_connections_test {
namespace {

using namespace std::chrono_literals;

/// Two nodes, of which the second has all keys and is told of only when the test allows it.
class TwoNodes final : public detail::Topology {
 public:
  detail::Destination locate(detail::TimePoint /*deadline*/, int /*cancel*/) override {
    throw detail::IoError(Errc::unreachable, "there is no server");
  }
  void prefer(const detail::SocketAddress& /*address*/) noexcept override {}
  void avoid(const detail::SocketAddress& /*address*/) noexcept override {}
  std::size_t node_of(std::string_view /*key*/) const noexcept override { return 1; }
  std::size_t max_nodes() const noexcept override { return 2; }
  std::shared_ptr<Topology> node(std::size_t number) override {
    if (number == 1) {
      is_asked_for = true;
      is_asked_for.notify_all();
      is_allowed.wait(false);
    }
    return {std::shared_ptr<Topology>{}, this};
  }
  void before_fork() override {}
  void after_fork_in_parent() override {}
  void after_fork_in_child() noexcept override {}

  std::atomic<bool> is_asked_for = false;
  std::atomic<bool> is_allowed = false;
};

class NoEvents final : public detail::EventSource {
 public:
  void add_sources(std::vector<Source>& /*sources*/) const override {}
  void receive_available() noexcept override {}
  void drop() noexcept override {}
};

/// A fork takes the mutex of the nodes and then that of the background thread.
TEST(NodeConnections, AreMadeWithoutTheMutexOfTheBackgroundThread) {
  const auto topology = std::make_shared<TwoNodes>();
  const detail::Settings settings{.endpoint = {},
                                  .options = {.command_timeout = 50ms},
                                  .server = {},
                                  .topology = topology,
                                  .routes = std::make_shared<detail::Routes>(4),
                                  .closings = std::make_shared<detail::Closings>()};
  NoEvents no_events;
  std::unique_ptr<detail::NodeConnections> connections;
  detail::Background background(settings);
  connections = std::make_unique<detail::NodeConnections>(settings, background);
  background.serve(*connections, no_events);
  const protocol::Command release(protocol::Expect::anything, "DEL", "job");
  detail::MemoryRetry retry;
  background.add("job", {release, 100ms}, retry);
  topology->is_asked_for.wait(false);  // by the background thread
  std::future<void> more = std::async(std::launch::async, [&] {
    detail::MemoryRetry other_retry;
    background.add("other", {release, 100ms}, other_retry);
  });
  EXPECT_EQ(more.wait_for(10s), std::future_status::ready);
  topology->is_allowed = true;
  topology->is_allowed.notify_all();
}

}  // namespace
}  // namespace redlatch::test::node_connections_test
