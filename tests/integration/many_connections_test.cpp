// Sixteen connections, each of which a stopped server leaves unanswered: they share one time-out.

#include <array>
#include <atomic>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "fixture.hpp"

namespace redlatch::test {
namespace many_connections_test {

constexpr auto command_timeout = 500ms;

/// Without scripts, renewals and releases are exchanges that keep a connection.
class ClientManyConnections : public testing::Test {
 protected:
  ~ClientManyConnections() override { server.resume(); }
  void hold(const LockOptions& options) {
    for (int i = 0; i < 32; ++i) held.emplace_back(*client, std::to_string(i), options);
  }

  RedisServer server{only_watch()};
  std::unique_ptr<Client> client = std::make_unique<Client>(
      server.url(),
      ClientOptions{.command_timeout = command_timeout, .connections = 16, .scripting = false});
  std::list<Lock> held{};
};

TEST_F(ClientManyConnections, DoNotDelayTheNoticeOfALoss) {
  hold({.ttl = 2s});
  std::atomic<int> told = 0;
  const auto count = [&] { ++told; };
  std::list<std::stop_callback<decltype(count)>> callbacks;
  for (const Lock& lock : held) callbacks.emplace_back(lock.lost_token(), count);
  server.pause();
  const auto time = duration_of([&] { EXPECT_TRUE(eventually([&] { return told == 32; })); });
  EXPECT_LT(time, 2s + command_timeout);
}

TEST_F(ClientManyConnections, DoNotDelayTheEndOfTheClient) {
  hold(long_lease);
  server.pause();
  held.clear();
  EXPECT_LT(duration_of([&] { client.reset(); }), 2 * command_timeout + 1s);
}

/// With scripts, the release at the end of a scope is sent at once, so that each connection has
/// replies to wait for at the end: one time-out for each of them would be 16 x 500 ms.
TEST_F(ClientManyConnections, ShareOneTimeOutAtTheEndOfTheClient) {
  client = std::make_unique<Client>(
      server.url(), ClientOptions{.command_timeout = command_timeout, .connections = 16});
  hold(long_lease);
  server.pause();
  held.clear();
  EXPECT_LT(duration_of([&] { client.reset(); }), 2 * command_timeout + 1s);
}

}  // namespace many_connections_test
}  // namespace redlatch::test
