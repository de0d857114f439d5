// The clusters that tests have.

#include "cluster.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fixture.hpp"
#include "loopback.hpp"

namespace redlatch::test {
namespace cluster_test {

/// Nodes that do not take each other for down.
constexpr std::chrono::milliseconds calm = 20s;

TEST(ClusterOfTests, IsReadyWhenItIsMade) {
  const Cluster cluster({.node_timeout = calm});
  for (unsigned slot : {0U, 5'460U, 5'461U, 8'192U, 16'383U}) {
    const std::string key = Cluster::key_in(slot);
    EXPECT_EQ(Cluster::slot_of(key), slot);
    EXPECT_EQ(cluster.command_at_key(key, {"SET", key, "value"}).text, "OK");
    EXPECT_EQ(cluster.command_at_key(key, {"CLUSTER", "KEYSLOT", key}).integer, slot);
  }
  EXPECT_EQ(cluster.primary_of(0U), 0U);
  EXPECT_EQ(cluster.primary_of(16'383U), 2U);
  EXPECT_EQ(cluster.replica_of(1), 4U);
  EXPECT_TRUE(cluster.command(0, {"GET", Cluster::key_in(16'383)}).text.starts_with("MOVED 16383"));
}

TEST(ClusterOfTests, MovesASlotWithItsKeys) {
  Cluster cluster({.node_timeout = calm});
  const std::string key = "{job}";
  const unsigned slot = Cluster::slot_of(key);
  const std::size_t from = cluster.primary_of(slot).value();
  const std::size_t to = (from + 1) % 3;
  for (int i = 0; i < 250; ++i) {
    cluster.command(from, {"SET", key + std::to_string(i), "value"});
  }
  cluster.move_slot(slot, to);
  ASSERT_TRUE(cluster.becomes_agreed());
  EXPECT_EQ(cluster.primary_of(slot), to);
  EXPECT_EQ(cluster.command(to, {"CLUSTER", "COUNTKEYSINSLOT", std::to_string(slot)}).integer, 250);
  EXPECT_TRUE(cluster.command(from, {"GET", key + "7"}).text.starts_with("MOVED "));
  cluster.move_slot(slot, from);
  EXPECT_EQ(cluster.command(from, {"GET", key + "7"}).text, "value");
}

TEST(ClusterOfTests, AnswersAskAndTryAgainWhileASlotMoves) {
  Cluster cluster({.node_timeout = calm});
  const unsigned slot = Cluster::slot_of("{job}");
  const std::size_t from = cluster.primary_of(slot).value();
  const std::size_t to = (from + 1) % 3;
  const auto at_source = [&](const std::vector<std::string>& words) {
    return cluster.command(from, words).text;
  };
  EXPECT_EQ(at_source({"SET", "{job}first", "1"}), "OK");
  cluster.begin_move(slot, to);
  cluster.abort_move(slot, to);
  EXPECT_EQ(at_source({"SET", "{job}second", "2"}), "OK");
  EXPECT_EQ(at_source({"DEL", "{job}second"}), "");

  cluster.begin_move(slot, to);
  const std::string ask =
      "ASK " + std::to_string(slot) + " 127.0.0.1:" + std::to_string(cluster.port(to));
  EXPECT_EQ(at_source({"SET", "{job}second", "2", "NX"}), ask);
  EXPECT_TRUE(at_source({"MGET", "{job}first", "{job}second"}).starts_with("TRYAGAIN"));
  EXPECT_EQ(at_source({"GET", "{job}first"}), "1");

  RawClient destination = cluster.at(to);
  EXPECT_TRUE(destination.command({"SET", "{job}second", "2"}).text.starts_with("MOVED"));
  EXPECT_EQ(destination.command({"ASKING"}).text, "OK");
  EXPECT_EQ(destination.command({"SET", "{job}second", "2"}).text, "OK");

  cluster.abort_move(slot, to);
  EXPECT_EQ(at_source({"GET", "{job}first"}), "1");
  EXPECT_EQ(at_source({"GET", "{job}second"}), "2");

  cluster.begin_move(slot, to);
  cluster.move_keys(slot, to);
  EXPECT_EQ(at_source({"GET", "{job}first"}), ask);
  cluster.finish_move(slot, to);
  EXPECT_EQ(cluster.command(to, {"GET", "{job}second"}).text, "2");
}

TEST(ClusterOfTests, SurvivesEachKindOfFailover) {
  Cluster cluster({.node_timeout = 2s});
  constexpr unsigned slot = 0;
  const std::string key = Cluster::key_in(slot);
  cluster.command_at_key(key, {"SET", key, "value"});

  EXPECT_EQ(cluster.fail_over(0), 3U);
  EXPECT_EQ(cluster.primary_of(slot), 3U);
  ASSERT_TRUE(cluster.becomes_agreed());
  EXPECT_EQ(cluster.replica_of(3), 0U);

  EXPECT_TRUE(cluster.take_over(0));
  ASSERT_TRUE(cluster.becomes_agreed());
  EXPECT_EQ(cluster.primary_of(slot), 0U);

  cluster.node(0).kill();
  EXPECT_EQ(cluster.promoted_from(0, slot), 3U);
  ASSERT_TRUE(cluster.becomes_agreed());
  cluster.node(0).start();
  ASSERT_TRUE(cluster.becomes_agreed());

  cluster.node(3).pause();
  EXPECT_EQ(cluster.promoted_from(3, slot), 0U);
  cluster.node(3).resume();
  ASSERT_TRUE(cluster.becomes_agreed());
  EXPECT_EQ(cluster.replica_of(0), 3U);
  EXPECT_EQ(cluster.command_at_key(key, {"GET", key}).text, "value");
}

TEST(ClusterOfTests, AdmitsANodeAndLetsItGo) {
  Cluster cluster({.node_timeout = calm});
  const std::string key = Cluster::key_in(0);
  cluster.command_at_key(key, {"SET", key, "value"});
  const std::size_t added = cluster.add_node();
  cluster.move_slot(0, added);
  ASSERT_TRUE(cluster.becomes_agreed());
  EXPECT_EQ(cluster.command(added, {"GET", key}).text, "value");
  EXPECT_THROW(cluster.remove_node(added), std::runtime_error);
  cluster.move_slot(0, 1);
  cluster.remove_node(added);
  ASSERT_TRUE(cluster.becomes_agreed());
  EXPECT_EQ(cluster.command(1, {"GET", key}).text, "value");
  EXPECT_EQ(cluster.command(0, {"CLUSTER", "INFO"}).text.find("known_nodes:7"), std::string::npos);
}

TEST(ClusterOfTests, MayAskForAPasswordAndSpeakTls) {
  Cluster cluster(
      {.primaries = 2, .replicas = 0, .node_timeout = calm, .password = "secret", .tls = true});
  EXPECT_EQ(cluster.url_of({1}),
            "rediss-cluster://:secret@127.0.0.1:" + std::to_string(cluster.port(1)));
  const std::string key = Cluster::key_in(0);
  cluster.command_at_key(key, {"SET", key, "value"});
  cluster.move_slot(0, 1);
  EXPECT_EQ(cluster.command(1, {"GET", key}).text, "value");
  EXPECT_TRUE(RawClient(cluster.node(0).socket()).command({"PING"}).text.starts_with("NOAUTH"));
}

/// As the tests of all classes of locks have it on a cluster.
class RedisServerOfACluster : public testing::Test {
 protected:
  RedisServerOfACluster() {
    ::setenv("REDLATCH_TEST_CLUSTER", "1", 1);
    server.emplace(std::vector<std::string>{"--requirepass", "secret"});
    ::unsetenv("REDLATCH_TEST_CLUSTER");
  }

  void expect_that_it_has_all_slots() {
    RawClient raw(server->socket());
    raw.command({"AUTH", "secret"});
    for (unsigned slot : {0U, 8'192U, 16'383U}) {
      EXPECT_EQ(raw.command({"SET", Cluster::key_in(slot), "value"}).text, "OK");
    }
  }

  /// What the node behind `url` says to CLUSTER SLOTS, as far as it is one piece.
  std::string slots_at_seed() {
    const std::string url = server->url();
    const int seed = connect_to(url.substr(url.rfind(':')));
    send_all(seed, "CLUSTER SLOTS\r\n");
    std::array<char, 1000> answer{};
    const ssize_t size = ::recv(seed, answer.data(), answer.size(), 0);
    ::close(seed);
    return {answer.data(), size > 0 ? static_cast<std::size_t>(size) : 0U};
  }

  std::optional<RedisServer> server{};
};

TEST_F(RedisServerOfACluster, HasAllSlotsAtOnceAlsoWhenItStartsAgain) {
  EXPECT_TRUE(server->url().starts_with("redis-cluster://127.0.0.1:"));
  const std::string all =
      "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:" + std::to_string(server->port());
  expect_that_it_has_all_slots();
  EXPECT_TRUE(slots_at_seed().starts_with(all)) << slots_at_seed();
  server->kill();
  EXPECT_TRUE(slots_at_seed().starts_with(all)) << slots_at_seed();
  server->start();
  expect_that_it_has_all_slots();
}

}  // namespace cluster_test
}  // namespace redlatch::test
