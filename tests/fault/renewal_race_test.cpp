// Locks are released just when they are due to be renewed: whatever comes first, nothing is said
// about a lease after its release, not even when the server forgets its scripts in between.
// REDLATCH_RACES is the number of releases.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "campaign.hpp"
#include "environment.hpp"

namespace redlatch::test {
namespace renewal_race_test {

using namespace std::chrono_literals;

constexpr int threads = 4;
constexpr int locks_each = 50;
const LockOptions brief{.ttl = 30ms};  // due after 10 ms
constexpr std::size_t never = std::size_t{1} << 40;

struct Count {
  std::size_t releases = 0;
  std::size_t renewals = 0;
  std::size_t late = 0;  // renewals behind the release
};

void count(std::string_view said, Count& count) {
  std::map<std::string, bool> released;
  for (const Command& command : commands_in(said)) {
    if (command.sha1 == protocol::release_script.sha1()) {
      ++count.releases;
      released[command.key] = true;
    } else if (command.sha1 == protocol::extend_script.sha1()) {
      ++count.renewals;
      if (released[command.key]) ++count.late;
    }
  }
}

void hold_for_a_while(Client& client, const std::string& name, unsigned seed) {
  std::mt19937 random(seed);
  std::deque<Lock> locks;
  for (int i = 0; i < locks_each; ++i) {
    try {
      locks.emplace_back(client, name + std::to_string(i), std::try_to_lock, brief);
    } catch (const Error& error) {
      if (error.code() != Errc::timed_out) throw;  // a lease may be over before its answer comes
    }
  }
  while (!locks.empty()) {
    if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    if (random() % 2 == 0) locks.front().unlock();
    locks.pop_front();
  }
}

TEST(LockRenewalRace, SaysNothingAboutALeaseAfterItsRelease) {
  const std::size_t races = chosen("REDLATCH_RACES", 10'000);
  const RedisServer server;
  Proxy proxy(server.socket());
  Count total;
  unsigned round = 0;
  Client client(proxy.url(), {.connect_timeout = 20s, .command_timeout = 20s, .connections = 1});
  RawClient stranger(server.socket());
  client.ping();
  while (total.releases < races) {
    proxy.arm_newest({Proxy::Direction::request, never, Proxy::Manner::close});
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&client, round, i] {
        hold_for_a_while(client, std::to_string(round) + ":" + std::to_string(i) + ":",
                         round * threads + static_cast<unsigned>(i));
      });
    }
    if (round % 2 == 1) stranger.command({"SCRIPT", "FLUSH"});
    for (std::thread& thread : running) thread.join();
    client.ping();  // behind everything
    count(proxy.traffic().said, total);
    ++round;
  }
  std::cout << "releases: " << total.releases << ", renewals: " << total.renewals
            << ", renewals behind the release: " << total.late << '\n';
  EXPECT_GT(total.renewals, total.releases / 100);
  EXPECT_EQ(total.late, 0U);
}

}  // namespace renewal_race_test
}  // namespace redlatch::test
