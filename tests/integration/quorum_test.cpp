// Whose voices count in a quorum, and what it is made of.

#include "quorum.hpp"

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace redlatch::test {
namespace quorum_test {

class RedlockFiveServers : public QuorumOf<5> {};
class QuorumTwoServers : public QuorumOf<2> {};

TEST_F(RedlockFiveServers, DecideByTheMajorityOfThoseWhoWork) {
  for (unsigned working = 0; working < 32; ++working) {
    int count = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      const bool works = ((working >> i) & 1U) != 0;
      count += works ? 1 : 0;
      raw[i]->command({"CONFIG", "SET", "min-replicas-to-write", works ? "0" : "1"});
    }
    Quorum nodes(urls, calm());
    Redlock lock(nodes, "job", std::defer_lock, long_lease);
    if (count >= 3) {
      EXPECT_TRUE(lock.try_lock()) << working;
      EXPECT_EQ(lock.unlock(), Unlock::released) << working;
    } else {
      EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock()); }), Errc::no_quorum) << working;
    }
    for (const auto& one : raw) one->command({"CONFIG", "SET", "min-replicas-to-write", "0"});
    EXPECT_TRUE(is_free()) << working;
  }
}

TEST_F(RedlockFiveServers, DecideByTheMajorityOfThoseWhoAreFree) {
  Quorum nodes(urls, calm());
  for (unsigned taken = 0; taken < 32; ++taken) {
    int free = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      const bool is_taken = ((taken >> i) & 1U) != 0;
      free += is_taken ? 0 : 1;
      if (is_taken) raw[i]->command({"SET", "job", "stranger"});
    }
    {
      Redlock lock(nodes, "job", std::try_to_lock, long_lease);
      EXPECT_EQ(lock.owns_lock(), free >= 3) << taken;
    }
    EXPECT_TRUE(eventually([&] { return held_on() == 5 - free; })) << taken;
    for (const auto& one : raw) one->command({"DEL", "job"});
  }
}

/// Each has one server, and lets it go again.
TEST_F(QuorumTwoServers, EndASplit) {
  std::atomic<int> acquired = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      Quorum nodes(urls, calm());
      for (int round = 0; round < 10; ++round) {
        Redlock lock(nodes, "job", long_lease);
        ++acquired;
        lock.unlock();
      }
    });
  }
  threads.clear();
  EXPECT_EQ(acquired, 20);
}

TEST_F(QuorumTwoServers, AreBothNeeded) {
  raw[0]->command({"SET", "job", "stranger"});
  Quorum nodes(urls, calm());
  EXPECT_FALSE(Redlock(nodes, "job", std::try_to_lock, long_lease));
  EXPECT_FALSE(raw[1]->exists("job"));
}

TEST(QuorumOfNone, IsRefused) {
  EXPECT_EQ(error_of([] { Quorum(std::vector<std::string>{}); }), Errc::invalid_argument);
}

TEST(QuorumWithADouble, IsRefusedByName) {
  const Error error = thrown_by([] {
    Quorum{"redis://127.0.0.1:7001", "redis://127.0.0.1:7002", "redis://:secret@127.0.0.1:7001"};
  });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("127.0.0.1:7001"), std::string::npos);
  EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
}

TEST(QuorumWithADouble, IsRefusedWhenTwoDatabasesOfOneServerAreNamed) {
  const Error error = thrown_by([] {
    Quorum{"redis://127.0.0.1:7001", "redis://127.0.0.1:7001/1", "redis://127.0.0.1:7002"};
  });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("127.0.0.1:7001"), std::string::npos);
}

/// Its two databases would be a majority.
TEST_F(QuorumTwoServers, AreNoMajorityOfThreeWhenTwoUrlsLeadToOneOfThem) {
  const std::vector<std::string> three{servers[0]->url(), servers[0]->unix_url() + "?db=1",
                                       servers[1]->url()};
  Quorum nodes(three, calm());
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  for (int i = 0; i < 2; ++i) {
    const Error error = thrown_by([&] { lock.lock(); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("lead to one server"), std::string::npos)
        << error.what();
    EXPECT_FALSE(lock.owns_lock());
  }
  EXPECT_TRUE(is_free());
  EXPECT_EQ(raw[0]->command({"INFO", "keyspace"}).text.find("db1:"), std::string::npos);
  servers[1]->kill();
  EXPECT_EQ(thrown_by([&] { lock.lock(); }).code(), Errc::invalid_argument);
  servers[1]->start();
}

TEST(QuorumWithABadOption, IsRefused) {
  EXPECT_EQ(error_of([] { Quorum({"redis://127.0.0.1:7001"}, {.server_timeout = 0ms}); }),
            Errc::invalid_argument);
  EXPECT_EQ(error_of([] { Quorum({"redis://127.0.0.1:7001"}, {.min_uptime = -1s}); }),
            Errc::invalid_argument);
}

TEST(RedlockOptions, ThatNeedOneServerAreRefused) {
  Quorum nodes{"redis://127.0.0.1:7001", "redis://127.0.0.1:7002", "redis://127.0.0.1:7003"};
  EXPECT_EQ(error_of([&] { static_cast<void>(Redlock(nodes, "job", {.fencing = true})); }),
            Errc::unsupported);
  EXPECT_EQ(
      error_of([&] { static_cast<void>(Redlock(nodes, "job", {.durability = {.replicas = 1}})); }),
      Errc::unsupported);
  EXPECT_EQ(error_of([&] { static_cast<void>(Redlock(nodes, "", std::defer_lock)); }),
            Errc::invalid_argument);
}

}  // namespace quorum_test
}  // namespace redlatch::test
