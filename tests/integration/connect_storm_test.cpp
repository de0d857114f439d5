// A server that is away, and many that want to connect to it.

#include <atomic>
#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "proxy.hpp"

namespace redlatch::test {
namespace connect_storm_test {

using Clock = std::chrono::steady_clock;

/// How long so many attempts take that there is hardly time for them in a storm. Four connections
/// and the one for messages have five attempts a second each at most, once their pauses have grown.
constexpr std::size_t many = 60;
constexpr auto least = 1s;

class ClientConnectStorm : public testing::Test {
 protected:
  void go_away() {
    proxy.redirect("/nowhere");
    proxy.cut();
  }
  void come_back() { proxy.redirect(server.socket()); }
  std::chrono::nanoseconds duration_of_many_attempts() {
    return duration_of(
        [&] { EXPECT_TRUE(eventually([&] { return proxy.refused() >= many; }, 60s)); });
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Proxy proxy{server.socket()};
  std::unique_ptr<Client> client = std::make_unique<Client>(proxy.url());
};

TEST_F(ClientConnectStorm, IsNotMadeByWaiters) {
  constexpr std::size_t waiters = 100;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < waiters; ++i) {
    const std::string key = "job " + std::to_string(i);
    raw.command({"SET", key, "a stranger"});
    threads.emplace_back([this, key] { const Lock lock(*client, key); });
  }
  EXPECT_TRUE(eventually([&] { return client->metrics().contended == waiters; }));
  go_away();
  EXPECT_GE(duration_of_many_attempts(), least);
  come_back();
  for (std::size_t i = 0; i < waiters; ++i) raw.command({"DEL", "job " + std::to_string(i)});
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ClientConnectStorm, IsNotMadeByOpenReleases) {
  constexpr int locks = 1'000;
  std::list<Lock> held;
  for (int i = 0; i < locks; ++i) held.emplace_back(*client, std::to_string(i), long_lease);
  go_away();
  held.clear();
  EXPECT_GE(duration_of_many_attempts(), least);
  come_back();
  EXPECT_TRUE(eventually([&] { return raw.command({"DBSIZE"}).integer == 0; }));
}

TEST_F(ClientConnectStorm, IsNotMadeByThreadsThatTryAgainAndAgain) {
  std::vector<std::thread> threads;
  std::atomic<bool> over = false;
  go_away();
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      while (!over) {
        EXPECT_EQ(error_of([&] { const Lock lock(*client, std::to_string(i), std::try_to_lock); }),
                  Errc::unreachable);
      }
    });
  }
  EXPECT_GE(duration_of_many_attempts(), least);
  over = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace connect_storm_test
}  // namespace redlatch::test
