#include "base/routes.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace redlatch::detail {
namespace routes_test {

constexpr auto none_busy = [](std::size_t) { return false; };
constexpr auto all_busy = [](std::size_t) { return true; };

/// Busy is only the connection that "job" has at first.
struct BusyHome {
  explicit BusyHome(Routes& routes) : home(routes.connection("job")) {}
  bool operator()(std::size_t connection) const { return connection == home; }
  std::size_t home;
};

TEST(Routes, LeadToEachConnection) {
  Routes routes(3);
  std::set<std::size_t> used;
  for (int i = 0; i < 100; ++i) used.insert(routes.connection(std::to_string(i)));
  EXPECT_EQ(used, (std::set<std::size_t>{0, 1, 2}));
}

TEST(Routes, MoveAKeyFromABusyConnectionToAnIdleOne) {
  Routes routes(2);
  const BusyHome busy(routes);
  const RoutePin pin = routes.move_and_pin("job", busy);
  EXPECT_EQ(routes.connection("job"), 1 - busy.home);
}

TEST(Routes, LeaveAKeyOnItsIdleConnection) {
  Routes routes(4);
  const std::size_t home = routes.connection("job");
  const RoutePin pin = routes.move_and_pin("job", none_busy);
  EXPECT_EQ(routes.connection("job"), home);
}

TEST(Routes, LeaveAKeyWhereItIsWhenAllConnectionsAreBusy) {
  for (const std::size_t connections : {1U, 2U, 4U, 100U}) {
    Routes routes(connections);
    const std::size_t home = routes.connection("job");
    const RoutePin pin = routes.move_and_pin("job", all_busy);
    EXPECT_EQ(routes.connection("job"), home);
  }
}

TEST(Routes, BringAKeyBackToItsFirstConnection) {
  Routes routes(4);
  const BusyHome busy(routes);
  RoutePin pin = routes.move_and_pin("job", busy);
  const std::size_t other = routes.connection("job");
  { const RoutePin second = routes.return_and_pin("job"); }
  EXPECT_EQ(routes.connection("job"), other) << "it is pinned";
  pin = RoutePin();
  const RoutePin third = routes.return_and_pin("job");
  EXPECT_EQ(routes.connection("job"), busy.home);
}

TEST(Routes, LeaveAPinnedKeyWhereItIs) {
  Routes routes(4);
  const BusyHome busy(routes);
  std::optional<RoutePin> pin = routes.pin("job");
  { const RoutePin second = routes.move_and_pin("job", busy); }
  EXPECT_EQ(routes.connection("job"), busy.home);
  pin.reset();
  const RoutePin third = routes.move_and_pin("job", busy);
  EXPECT_NE(routes.connection("job"), busy.home);
}

TEST(Routes, LeaveAKeyWhereItIsUntilEachCopyOfItsPinIsGone) {
  Routes routes(4);
  const BusyHome busy(routes);
  RoutePin pin = routes.pin("job");
  std::optional<RoutePin> copy = pin;
  RoutePin moved = std::move(pin);
  moved = RoutePin();
  { const RoutePin second = routes.move_and_pin("job", busy); }
  EXPECT_EQ(routes.connection("job"), busy.home);
  copy.reset();
  const RoutePin third = routes.move_and_pin("job", busy);
  EXPECT_NE(routes.connection("job"), busy.home);
}

TEST(Routes, NeverMoveAKeyThatAnotherThreadHasPinned) {
  Routes routes(4);
  std::atomic<int> moved_while_pinned = 0;
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(i);
      for (int round = 0; round < 20'000; ++round) {
        const std::string key = std::to_string(random() % 2);
        const RoutePin pin =
            routes.move_and_pin(key, [&](std::size_t) { return random() % 2 == 0; });
        const std::size_t connection = routes.connection(key);
        if (round % 16 == 0) std::this_thread::yield();
        if (routes.connection(key) != connection) ++moved_while_pinned;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(moved_while_pinned, 0);
}

}  // namespace routes_test
}  // namespace redlatch::detail
