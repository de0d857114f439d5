// Locks on a cluster that stays as it is: how a client finds its nodes, and what it is refused.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "child.hpp"
#include "cluster_locks.hpp"
#include "cluster_node.hpp"
#include "cluster_start.hpp"
#include "loopback.hpp"
#include "slow_link.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace cluster_client_test {

std::string text_of(const Error& error) { return error.what(); }

Error refusal(const std::string& url, const ClientOptions& options = patient()) {
  Client refused(url, options);
  return thrown_by([&] { refused.ping(); });
}

void expect_text(const Error& error, const std::string& text) {
  EXPECT_NE(text_of(error).find(text), std::string::npos) << error.what();
}

/// Locks a key of each node.
void expect_locks_at_all_nodes(const Cluster& cluster, Client& client) {
  for (const std::string& key : a_key_of_each()) {
    const Lock lock(client, key, long_lease);
    EXPECT_EQ(cluster.command_at_key(key, {"GET", key}).text, lock.token());
  }
}

class ClientCluster : public testing::Test {
 protected:
  static void SetUpTestSuite() { shared = std::make_unique<Cluster>(with_replicas()); }
  static void TearDownTestSuite() { shared.reset(); }
  static ClusterOptions with_replicas() { return {.node_timeout = calm}; }

  Client client() const { return Client(cluster.url(), options); }
  /// The sum of a number in a section of INFO, or in CLUSTER INFO, over all nodes.
  std::int64_t calls(const std::string& command) const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < cluster.size(); ++i) sum += cluster.at(i).calls(command);
    return sum;
  }
  std::int64_t said_on_the_bus() const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      const std::string info = cluster.command(i, {"CLUSTER", "INFO"}).text;
      for (const char* kind : {"publish_sent:", "publishshard_sent:"}) {
        const auto place = info.find(kind);
        if (place != std::string::npos) sum += std::stol(info.substr(info.find(':', place) + 1));
      }
    }
    return sum;
  }

  inline static std::unique_ptr<Cluster> shared{};
  Cluster& cluster = *shared;
  ClientOptions options = patient();
};

TEST_F(ClientCluster, NeedsOneSeedOnlyAlsoAReplica) {
  for (std::size_t seed = 0; seed < cluster.size(); ++seed) {
    Client one(cluster.url_of({seed}), options);
    expect_locks_at_all_nodes(cluster, one);
  }
}

TEST_F(ClientCluster, CarriesALifeOfALockAndLocksOfAllClasses) {
  Client one = client();
  RawClient raw = cluster.at_key("job");
  live_one_life(one, raw, long_lease);
  for (const std::string& key : a_key_of_each()) {
    LocksOfOneSlot held(one, "{" + key + "}", long_lease);
    held.for_each([](auto& lock) { EXPECT_TRUE(lock.verify() && lock.extend()); });
    held.for_each([](auto& lock) { EXPECT_EQ(lock.unlock(), Unlock::released); });
  }
}

TEST_F(ClientCluster, NeedsOneSeedThatAnswers) {
  std::string url = cluster.url_of({5});
  for (int i = 0; i < 4; ++i) {
    url.insert(url.find("://") + 3, "127.0.0.1:" + std::to_string(free_port()) + ",");
  }
  Client one(url, options);
  expect_locks_at_all_nodes(cluster, one);
}

TEST_F(ClientCluster, NamesEachSeedThatCannotBeReached) {
  const std::string one = "127.0.0.1:" + std::to_string(free_port());
  const std::string other = "127.0.0.1:" + std::to_string(free_port());
  const Error error = refusal("redis-cluster://" + one + "," + other, options);
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_TRUE(error.transient());
  expect_text(error, "no node of the cluster gives its map of slots");
  expect_text(error, one + ": cannot connect");
  expect_text(error, other + ": cannot connect");
  EXPECT_EQ(error.server(), "redis-cluster://" + one + "," + other);
}

TEST_F(ClientCluster, NamesEachSilentSeedAndWhatItWasAt) {
  std::uint16_t ports[2] = {};
  const int silent[2] = {listen_on_loopback(ports[0]), listen_on_loopback(ports[1])};
  options.connect_timeout = 2s;
  const std::string seeds[] = {"127.0.0.1:" + std::to_string(ports[0]),
                               "127.0.0.1:" + std::to_string(ports[1]),
                               "127.0.0.1:" + std::to_string(free_port())};
  const Error error =
      refusal("redis-cluster://" + seeds[0] + "," + seeds[1] + "," + seeds[2], options);
  for (const int one : silent) ::close(one);
  EXPECT_EQ(error.code(), Errc::unreachable);
  expect_text(error, seeds[0] + ": connected, but no answer within connect_timeout");
  expect_text(error, seeds[1] + ": connected, but no answer within connect_timeout");
  expect_text(error, seeds[2] + ": cannot connect");
}

TEST_F(ClientCluster, GivesSilentSeedsUpAfterConnectTimeout) {
  std::uint16_t port = 0;
  const int silent = listen_on_loopback(port);
  options.connect_timeout = 300ms;
  std::optional<Error> error;
  const auto time = duration_of(
      [&] { error = refusal("redis-cluster://127.0.0.1:" + std::to_string(port), options); });
  ::close(silent);
  EXPECT_TRUE(error->transient()) << error->what();
  expect_text(*error, "no node of the cluster gives its map of slots");
  EXPECT_GE(time, 300ms);
  EXPECT_LT(time, 5s);
}

TEST_F(ClientCluster, SaysThatAServerIsNoNodeOfACluster) {
  const RedisServer server;
  const Error error = refusal("redis-cluster://127.0.0.1:" + std::to_string(server.port()));
  EXPECT_FALSE(error.transient());
  expect_text(error, "is this a node of a cluster");
  expect_text(error, "(a server without a cluster has the URL redis://)");
}

TEST_F(ClientCluster, IsProposedToAPlainUrl) {
  const std::string key = Cluster::key_in(16'000);
  Client plain("redis://127.0.0.1:" + std::to_string(cluster.port(0)));
  const Error error = thrown_by([&] { const Lock lock(plain, key); });
  EXPECT_EQ(error.code(), Errc::protocol_error);
  expect_text(error, "a URL with redis-cluster:// leads to all of them");
}

TEST_F(ClientCluster, SaysThatThereAreNoSlots) {
  ClusterNode node({});
  node.configure(
      nodes_conf({{.id = node.id(), .port = node.port(), .bus_port = node.bus_port()}}, 0));
  node.start();
  const Error error = refusal("redis-cluster://" + node.address());
  EXPECT_EQ(error.code(), Errc::not_writable);
  expect_text(error, "the cluster has no slots yet; is it set up?");
}

TEST_F(ClientCluster, SaysThatItsUserMayNotAskForTheSlots) {
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    cluster.command(i, {"ACL", "SETUSER", "limited", "on", ">pw", "~*", "&*", "+@all", "-cluster"});
  }
  std::string url = cluster.url_of({0});
  url.insert(url.find("://") + 3, "limited:pw@");
  const Error error = refusal(url);
  EXPECT_EQ(error.code(), Errc::not_permitted);
  expect_text(error, "may the user run CLUSTER SLOTS?");
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    cluster.command(i, {"ACL", "SETUSER", "limited", "+cluster|slots"});
  }
  Client one(url);
  expect_locks_at_all_nodes(cluster, one);
}

TEST_F(ClientCluster, MayBeNamedByHosts) {
  Client one("redis-cluster://localhost:" + std::to_string(cluster.port(4)), options);
  expect_locks_at_all_nodes(cluster, one);
  const auto set = [&](const std::string& host, const std::string& type) {
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      cluster.command(i, {"CONFIG", "SET", "cluster-announce-hostname", host,
                          "cluster-preferred-endpoint-type", type});
    }
  };
  const auto names_all = [&](std::size_t node) {
    const RawReply answer = cluster.command(node, {"CLUSTER", "SLOTS"});
    for (const RawReply& range : answer.elements) {
      if (range.elements.at(2).elements.at(0).text != "localhost") return false;
    }
    return !answer.elements.empty();
  };
  // Until then, their maps differ, as in a failover.
  const auto is_named_by_all = [&] {
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      if (!names_all(i)) return false;
    }
    return true;
  };
  set("localhost", "hostname");
  EXPECT_TRUE(eventually(is_named_by_all, 30s));
  Client other(cluster.url_of({1}), options);
  expect_locks_at_all_nodes(cluster, other);
  // Nodes that say no host are at that of the node that was asked.
  set("", "unknown-endpoint");
  Client unnamed(cluster.url_of({2}), options);
  expect_locks_at_all_nodes(cluster, unnamed);
  set("", "ip");
}

TEST_F(ClientCluster, RefusesKeysOfSeveralSlotsBeforeAnythingIsSent) {
  Client one = client();
  one.ping();
  const std::vector<std::string> keys{"{a}1", "{b}2"};
  const std::int64_t before = calls("evalsha") + calls("eval") + calls("set");
  const std::vector<std::function<void()>> calls_of_all_kinds{
      [&] { const MultiLock lock(one, keys); },
      [&] { const MultiLock lock(one, keys, std::try_to_lock); },
      [&] { const MultiLock lock(one, keys, 100ms); }};
  for (const auto& call : calls_of_all_kinds) {
    const Error error = thrown_by(call);
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    expect_text(error, "lock \"{a}1\"");
    expect_text(error, "the key \"{b}2\" is in another slot of the cluster");
    expect_text(error,
                "give all keys that are locked together the same hash tag, as in {tag}:name");
  }
  EXPECT_EQ(calls("evalsha") + calls("eval") + calls("set"), before);
}

TEST_F(ClientCluster, IsRefusedToAQuorum) {
  const Error error = thrown_by([&] {
    Quorum({cluster.url_of({0}), cluster.url_of({1}), cluster.url_of({2})});
  });
  EXPECT_EQ(error.code(), Errc::unsupported);
  expect_text(error, "a failover may forget");
}

/// Each message is for one client, whose subscription is at the node that has the key. Redis sends
/// it to the replicas of that node, and to no others.
TEST_F(ClientCluster, HandsLocksOverWithinAShard) {
  const std::int64_t bus = said_on_the_bus();
  std::atomic<bool> over = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      Client own = client();
      while (!over) {
        for (const std::string& key : a_key_of_each()) {
          const FairLock lock(own, key, 60s, long_lease);
        }
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return calls("spublish") > 50; }));
  over = true;
  threads.clear();
  const std::int64_t grants = calls("spublish");
  EXPECT_EQ(calls("publish"), 0);
  EXPECT_LE(said_on_the_bus() - bus, grants);
}

TEST_F(ClientCluster, EndsWithLocksHeldOnAllNodes) {
  std::atomic<int> lost = 0;
  options.on_event = [&](const Event& event) { lost += is_bad(event) ? 1 : 0; };
  {
    Client one = client();
    std::vector<Lock> held;
    for (const std::string& key : a_key_of_each()) held.emplace_back(one, key, long_lease);
    const Client moved = std::move(one);
  }
  for (const std::string& key : a_key_of_each()) {
    EXPECT_EQ(cluster.command_at_key(key, {"EXISTS", key}).integer, 0);
  }
  EXPECT_EQ(lost, 0);
}

TEST_F(ClientCluster, IsOfAForkedChildToo) {
  Client one = client();
  std::vector<Lock> held;
  for (const std::string& key : a_key_of_each()) held.emplace_back(one, key, long_lease);
  EXPECT_EQ(in_child([&] {
              for (const std::string& key : a_key_of_each()) {
                const Lock own(one, key + "child", long_lease);
                if (!own || Lock(one, key, std::try_to_lock)) return 1;
              }
              Client another(cluster.url(), options);
              const Lock own(another, "job", 10s, long_lease);
              return own ? 0 : 2;
            }),
            0);
  for (Lock& lock : held) EXPECT_TRUE(lock.verify());
}

// Addresses

/// Nodes announce ports at which nothing listens, as from inside a network of containers.
class ClientClusterMap : public testing::Test {
 protected:
  void SetUp() override {
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      announced[i] = free_port();
      ASSERT_EQ(
          cluster
              .command(i, {"CONFIG", "SET", "cluster-announce-port", std::to_string(announced[i])})
              .text,
          "OK");
    }
    ASSERT_TRUE(eventually([&] { return is_announced(); }, 30s));
    options.map_address = [this](const Address& address) -> Address {
      for (std::size_t i = 0; i < cluster.size(); ++i) {
        if (address.port == announced[i]) return {address.host, cluster.port(i)};
      }
      throw std::out_of_range("no such port");
    };
  }
  bool is_announced() const {
    for (std::size_t i = 0; i < 3; ++i) {
      const RawReply answer = cluster.command(i, {"CLUSTER", "SLOTS"});
      for (const RawReply& range : answer.elements) {
        const std::int64_t port = range.elements.at(2).elements.at(1).integer;
        if (port != announced[0] && port != announced[1] && port != announced[2]) return false;
      }
    }
    return true;
  }

  Cluster cluster{primaries_only()};
  std::array<std::uint16_t, 8> announced{};
  ClientOptions options = patient();
};

TEST_F(ClientClusterMap, IsAskedForTheAddressesOfNodesAndRedirects) {
  Client one(cluster.url(), options);
  expect_locks_at_all_nodes(cluster, one);
  const std::string key = a_key_of_each()[0];
  Lock lock(one, key, long_lease);
  cluster.move_slot(Cluster::slot_of(key), 2);
  EXPECT_TRUE(lock.extend());
  cluster.begin_move(Cluster::slot_of(key), 1);
  const Lock meanwhile(one, "{" + key + "}2", long_lease);
  cluster.finish_move(Cluster::slot_of(key), 1);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// It is in no map of slots yet.
TEST_F(ClientClusterMap, IsAskedForTheAddressOfANodeThatIsToHaveItsFirstSlot) {
  const std::size_t added = cluster.add_node();
  announced[added] = free_port();
  const std::string port = std::to_string(announced[added]);
  ASSERT_EQ(cluster.command(added, {"CONFIG", "SET", "cluster-announce-port", port}).text, "OK");
  ASSERT_TRUE(eventually(
      [&] {
        return cluster.command(0, {"CLUSTER", "NODES"}).text.find(":" + port + "@") !=
               std::string::npos;
      },
      30s));
  Client client(cluster.url(), options);
  const std::string key = a_key_of_each()[0];
  const unsigned slot = Cluster::slot_of(key);
  Lock lock(client, key, long_lease);
  cluster.begin_move(slot, added);
  const Lock meanwhile(client, "{" + key + "}2", long_lease);
  cluster.move_keys(slot, added);
  EXPECT_TRUE(lock.extend());
  cluster.finish_move(slot, added);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientClusterMap, SaysWhatItHasThrown) {
  options.map_address = [](const Address&) -> Address { throw std::runtime_error("no map"); };
  const Error thrown = refusal(cluster.url(), options);
  EXPECT_EQ(thrown.code(), Errc::unreachable);
  expect_text(thrown, "map_address has thrown: no map");
  options.map_address = [](const Address&) { return Address{}; };
  expect_text(refusal(cluster.url(), options), "has given no host or no port");
}

/// From there, no node can answer within half a second.
TEST(ClientClusterFarAway, HasLocks) {
  Cluster cluster({.node_timeout = calm});
  std::list<SlowLink> links;
  std::map<std::uint16_t, std::uint16_t> port_of;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    port_of[cluster.port(i)] = links.emplace_back(cluster.node(i).socket(), 100ms).port();
  }
  ClientOptions options = patient();
  options.map_address = [&](const Address& address) -> Address {
    return {address.host, port_of.at(address.port)};
  };
  Client client("redis-cluster://127.0.0.1:" + std::to_string(port_of[cluster.port(0)]), options);
  EXPECT_TRUE(Lock(client, "job", long_lease).owns_lock());
}

ClusterOptions without_full_coverage() {
  ClusterOptions options = primaries_only();
  options.settings = {"--cluster-require-full-coverage", "no"};
  return options;
}

/// The other nodes vouch for each other, and it is not waited for each time.
TEST(ClientClusterWithANodeThatHangs, HasLocksAtTheOthers) {
  Cluster cluster(without_full_coverage());
  const auto asked = [&] {
    const std::string stats = cluster.command(0, {"INFO", "commandstats"}).text;
    const std::string name = "cmdstat_cluster|nodes:calls=";
    const std::size_t at = stats.find(name);
    return at == std::string::npos ? 0 : std::stoi(stats.substr(at + name.size()));
  };
  cluster.node(2).pause();
  Client client(cluster.url_of({0, 1}), less_patient());
  const auto keys = a_key_of_each();
  EXPECT_TRUE(Lock(client, keys[0], long_lease).owns_lock());
  const int before = asked();
  EXPECT_TRUE(Lock(client, keys[1], long_lease).owns_lock());
  EXPECT_LE(asked() - before, 4);
  cluster.node(2).resume();
}

/// A client that does not know the nodes yet asks none of them for a lock.
TEST(ClientClusterWithANodeThatHangs, HasItsFirstLockAtAnother) {
  Cluster cluster(without_full_coverage());
  const auto keys = a_key_of_each();
  cluster.node(0).pause();
  for (std::size_t i = 1; i < keys.size(); ++i) {
    Client plain(cluster.url_of({1, 2}), less_patient());
    EXPECT_TRUE(Lock(plain, keys[i], std::try_to_lock, long_lease).owns_lock());
    Client fair(cluster.url_of({1, 2}), less_patient());
    EXPECT_TRUE(FairLock(fair, keys[i], std::try_to_lock, long_lease).owns_lock());
  }
  cluster.node(0).resume();
}

// Passwords and TLS

TEST(ClientClusterPassword, ThatIsWrongIsNotShown) {
  const Cluster cluster(
      {.primaries = 1, .replicas = 0, .node_timeout = calm, .password = "s3cr3t"});
  Client client(cluster.url(), patient());
  expect_locks_at_all_nodes(cluster, client);
  std::string url = cluster.url();
  url.replace(url.find("s3cr3t"), 6, "wr0ng");
  const Error error = refusal(url);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  EXPECT_EQ(text_of(error).find("wr0ng"), std::string::npos) << error.what();
  EXPECT_EQ(text_of(error).find("s3cr3t"), std::string::npos);
  url.erase(url.find(":wr0ng@"), 7);
  EXPECT_EQ(refusal(url).code(), Errc::authentication_failed);
}

TEST(ClientClusterTls, ChecksTheCertificatesOfAllNodes) {
  Cluster cluster({.replicas = 0, .node_timeout = calm, .tls = true});
  Client client(cluster.url(), trusting());
  expect_locks_at_all_nodes(cluster, client);
  const std::string key = a_key_of_each()[0];
  Lock lock(client, key, long_lease);
  cluster.move_slot(Cluster::slot_of(key), 2);
  EXPECT_TRUE(lock.extend());
  const TemporaryDirectory directory;
  const CertificateAuthority other(directory.path(), "other");
  ClientOptions options = patient();
  options.tls.ca_file = other.file();
  const Error error = refusal(cluster.url(), options);
  EXPECT_EQ(error.code(), Errc::authentication_failed);
  expect_text(error, "no node of the cluster gives its map of slots");
  expect_text(error, "certificate");
  std::string plain = cluster.url();
  plain.replace(0, plain.find("://"), "redis-cluster");
  expect_text(refusal(plain), "rediss");
}

}  // namespace cluster_client_test
}  // namespace redlatch::test
