#include <atomic>
#include <barrier>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace connections_test {

using ClientConnections = ServerTest;

void in_threads(int count, const std::function<void(int)>& work) {
  std::barrier start(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      work(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::string key_of(int thread, int round) {
  return "job:" + std::to_string(thread) + ":" + std::to_string(round);
}

TEST_F(ClientConnections, AreNeverMoreThanTheOptionSays) {
  const auto before = raw.info("stats", "total_connections_received:");
  ClientOptions options = patient();
  options.connections = 3;
  options.client_name = "pooled";
  Client pooled(server.url(), options);
  in_threads(32, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      const Lock lock(pooled, key_of(thread, round));
      EXPECT_TRUE(lock.owns_lock());
    }
  });
  EXPECT_EQ(raw.clients("pooled").size(), 3U);
  EXPECT_EQ(raw.info("stats", "total_connections_received:") - before, 3);
}

TEST_F(ClientConnections, CanBeOneForEverybody) {
  ClientOptions options = patient();
  options.connections = 1;
  options.client_name = "single";
  Client single(server.url(), options);
  in_threads(8, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      Lock lock(single, key_of(thread, round));
      EXPECT_TRUE(lock.verify());
      EXPECT_EQ(lock.unlock(), Unlock::released);
    }
  });
  EXPECT_EQ(raw.clients("single").size(), 1U);
}

TEST_F(ClientConnections, GiveEachOfManyThreadsItsOwnAnswers) {
  in_threads(16, [&](int thread) {
    for (int round = 0; round < 25; ++round) {
      Lock lock(client, key_of(thread, 0), std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock());
      ASSERT_FALSE(Lock(client, key_of(thread, 0), std::try_to_lock));
      ASSERT_TRUE(lock.extend());
      ASSERT_TRUE(lock.verify());
      ASSERT_EQ(lock.unlock(), Unlock::released);
      ASSERT_FALSE(lock.verify());
    }
  });
}

TEST_F(ClientConnections, LetOnlyOneOfManyThreadsHoldOneKey) {
  std::atomic<int> holders = 0;
  std::atomic<int> taken = 0;
  in_threads(16, [&](int) {
    for (int round = 0; round < 25; ++round) {
      const Lock lock(client, "job", std::try_to_lock, long_lease);
      if (!lock.owns_lock()) continue;
      EXPECT_EQ(++holders, 1);
      ++taken;
      --holders;
    }
  });
  EXPECT_GE(taken, 1);
}

std::string answer(const ScriptedRequest& request) {
  return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
}

TEST(ClientConnection, OfAKeyIsTheSameWhileItIsHeld) {
  const ScriptedServer server(answer);
  Client client(server.url(), patient());
  in_threads(4, [&](int) {
    for (int i = 0; i < 400; ++i) const Lock lock(client, "job:" + std::to_string(i % 4));
  });
  struct Use {
    std::size_t connection = 0;
    int holders = 0;  // everybody gets the lock of this server
  };
  std::map<std::string, Use> uses;
  std::set<std::size_t> used;
  for (const ScriptedRequest& request : server.requests()) {
    if (!request.is("SET") && !request.is("EVALSHA")) continue;
    const bool acquires = request.is("SET");
    Use& use = uses[request.words[acquires ? 1 : 3]];
    if (use.holders == 0) use.connection = request.connection;
    EXPECT_EQ(use.connection, request.connection);
    use.holders += acquires ? 1 : -1;
    used.insert(request.connection);
  }
  EXPECT_EQ(uses.size(), 4U);
  EXPECT_GT(used.size(), 1U);
  EXPECT_LE(used.size(), ClientOptions().connections);
}

}  // namespace connections_test
}  // namespace redlatch::test
