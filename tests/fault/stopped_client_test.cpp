// A client whose process is stopped again and again, for longer than command_timeout, while it uses
// a healthy server: what it missed is in its sockets, and no connection is given up for that.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "child.hpp"
#include "eventually.hpp"
#include "redis_server.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace stopped_client_test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto command_timeout = 300ms;
constexpr int threads = 4;

struct Shared {
  std::atomic<std::uint64_t> cycles = 0;
  std::atomic<std::uint64_t> errors = 0;
  std::atomic<std::uint64_t> disconnected = 0;
  std::atomic<bool> over = false;
};

void use(const std::string& url, Shared& shared) {
  Client client(url, {.connect_timeout = 20s, .command_timeout = command_timeout});
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&, key = std::to_string(i)] {
      while (!shared.over) {
        try {
          const Lock lock(client, key, {.ttl = 60s});
        } catch (const Error&) {
          ++shared.errors;
        }
        ++shared.cycles;
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  shared.disconnected = client.metrics().disconnected;
}

class ClientThatIsStopped : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(Keys, ClientThatIsStopped, testing::Bool(), [](const auto& test) {
  return std::string(test.param ? "Contended" : "ItsOwn");
});

TEST_P(ClientThatIsStopped, GivesNoHealthyConnectionUp) {
  constexpr unsigned stops = 15;
  const RedisServer server;
  const SharedMemory<Shared> shared;
  const SharedMemory<Shared> rivals;
  rivals->over = !GetParam();
  Child client([&] { use(server.url(), *shared); });
  Child rival([&] { use(server.url(), *rivals); });
  std::mt19937 random(1);
  for (unsigned i = 0; i < stops; ++i) {
    const std::uint64_t before = shared->cycles;
    const std::uint64_t some = 1 + random() % 200;
    ASSERT_TRUE(eventually([&] { return shared->cycles >= before + some; }));
    client.stop();
    EXPECT_TRUE(passes(2 * command_timeout));
    client.go_on();
  }
  shared->over = rivals->over = true;
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(rival.wait(), 0);
  EXPECT_EQ(shared->disconnected, 0U);
  // On a machine that is busy with something else, calls may be late all the same.
  std::cout << "stops: " << stops << ", errors: " << shared->errors << '\n';
}

/// As all of a group of containers may be, while it connects. Its server goes on a moment later.
TEST(ClientThatIsStoppedTogetherWithItsServer, ConnectsWhenBothGoOn) {
  constexpr auto connect_timeout = 1s;
  struct State {
    std::array<char, 128> url{};
    std::atomic<bool> begins = false;
    std::atomic<bool> connects = false;
    std::atomic<bool> is_done = false;
    std::atomic<bool> is_held = false;
  };
  // In one of some rounds, as this machine may be busy.
  EXPECT_TRUE(eventually(
      [&] {
        const SharedMemory<State> state;
        const Child child([&] {
          eventually([&] { return state->begins.load(); });
          Client client(state->url.data(), {.connect_timeout = connect_timeout});
          Lock lock(client, "job", std::defer_lock);
          state->connects = true;
          try {
            state->is_held = lock.try_lock();
          } catch (const Error&) {
          }
          state->is_done = true;
          eventually([] { return false; }, 1min);
        });
        const RedisServer server;
        server.url().copy(state->url.data(), state->url.size() - 1);
        server.pause();
        state->begins = true;
        EXPECT_TRUE(eventually([&] { return state->connects.load(); }));
        EXPECT_TRUE(passes(100ms));
        child.stop();
        EXPECT_TRUE(passes(connect_timeout + 200ms));
        child.go_on();
        EXPECT_TRUE(passes(20ms));
        server.resume();
        EXPECT_TRUE(eventually([&] { return state->is_done.load(); }));
        return state->is_held.load();
      },
      10s));
}

}  // namespace stopped_client_test
}  // namespace redlatch::test
