// Keys move between connections while many threads use few of them: an owner that has given its
// lock up without waiting finds the key free again, and a key has one holder.
// REDLATCH_MOVES is the number of sections.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "environment.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"

namespace redlatch::test {
namespace moving_keys_test {

using namespace std::chrono_literals;

constexpr int threads = 16;
const unsigned sections = chosen("REDLATCH_MOVES", 30'000);
const LockOptions long_lease{.ttl = 60s};

class ClientMovingKeys : public testing::Test {
 protected:
  static void in_threads(unsigned count,
                         const std::function<void(int thread, std::mt19937& random)>& work) {
    std::vector<std::jthread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&work, count, i] {
        std::mt19937 random(static_cast<unsigned>(i));
        for (unsigned j = 0; j < count / threads; ++j) work(i, random);
      });
    }
  }

  struct Shared {
    std::string key;
    std::atomic<int> holders = 0;
  };
  void hold(Shared& one) {
    const Lock lock(client, one.key, long_lease);
    EXPECT_EQ(++one.holders, 1) << one.key;
    --one.holders;
  }

  RedisServer server{};
  RawClient stranger{server.socket()};
  Client client{server.url(), {.connect_timeout = 20s, .command_timeout = 20s}};
  std::array<Shared, 3> shared{{{"a"}, {"b"}, {"c"}}};
};

TEST_F(ClientMovingKeys, AreFreeForTheThreadThatReleasedThem) {
  in_threads(sections, [&](int thread, std::mt19937& random) {
    const std::string one = "one:" + std::to_string(thread);
    const std::string two = "two:" + std::to_string(thread);
    switch (random() % 4) {
      case 0:
        EXPECT_TRUE(Lock(client, one, std::try_to_lock, long_lease).owns_lock());
        break;
      case 1: {
        Lock lock(client, one, std::try_to_lock, long_lease);
        EXPECT_TRUE(lock.extend());
        EXPECT_EQ(lock.unlock(), Unlock::released);
        break;
      }
      case 2: {
        const std::vector<std::string> both{one, two};
        EXPECT_TRUE(MultiLock(client, both, std::try_to_lock, long_lease).owns_lock());
        break;
      }
      default:
        hold(shared[random() % shared.size()]);
    }
  });
  EXPECT_TRUE(eventually([&] { return stranger.command({"DBSIZE"}).integer == 0; }));
}

TEST_F(ClientMovingKeys, HaveOneHolderWhileConnectionsBreak) {
  std::atomic<bool> over = false;
  std::jthread breaker([&] {
    RawClient killer(server.socket());
    while (!eventually([&] { return over.load(); }, 5ms)) {
      killer.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    }
  });
  in_threads(sections / 150, [&](int, std::mt19937& random) {
    try {
      hold(shared[random() % shared.size()]);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
    }
  });
  over = true;
  breaker.join();
  RawClient watcher(server.socket());
  EXPECT_TRUE(eventually([&] { return watcher.command({"DBSIZE"}).integer == 0; }, 30s));
}

}  // namespace moving_keys_test
}  // namespace redlatch::test
