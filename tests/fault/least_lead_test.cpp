// How long before the end of validity a loss is told when the server falls silent. REDLATCH_ROUNDS
// is how often it does.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <iostream>
#include <list>
#include <stop_token>
#include <string>

#include <redlatch/redlatch.hpp>

#include "environment.hpp"
#include "eventually.hpp"
#include "redis_server.hpp"

namespace redlatch::test {
namespace least_lead_test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// A lock whose lease is not extended any more, and when its loss was told.
struct EventSource {
  EventSource(Client& client, const std::string& key, std::chrono::milliseconds ttl)
      : lock(client, key, {.ttl = ttl, .auto_renew = false}),
        end(lock.expires_at()),
        note(lock.lost_token(), [this] { told = Clock::now(); }) {}

  bool is_told() const { return told.load() != Clock::time_point(); }

  Lock lock;
  Clock::time_point end;
  std::atomic<Clock::time_point> told{};
  std::stop_callback<std::function<void()>> note;
};

TEST(LockLeastLead, IsMoreThanNothing) {
  const unsigned rounds = chosen("REDLATCH_ROUNDS", 1);
  auto least = Clock::duration::max();
  for (unsigned round = 0; round < rounds; ++round) {
    const RedisServer server;
    Client client(server.url(), {.connect_timeout = 20s, .command_timeout = 200ms});
    std::list<EventSource> all;
    for (int i = 0; i < 100; ++i) {
      all.emplace_back(client, "job:" + std::to_string(i), std::chrono::milliseconds(2000 + i));
    }
    server.pause();
    for (const EventSource& one : all) {
      EXPECT_TRUE(eventually([&] { return one.is_told(); }));
      least = std::min(least, one.end - one.told.load());
    }
    server.resume();
  }
  std::cout << "rounds of 100 locks with a ttl of 2 s: " << rounds
            << ", least lead: " << std::chrono::duration<double, std::milli>(least).count()
            << " ms\n";
  EXPECT_GT(least, 0ns);
}

}  // namespace least_lead_test
}  // namespace redlatch::test
