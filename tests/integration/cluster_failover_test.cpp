// Locks on a cluster whose primaries fail.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "cluster_locks.hpp"

namespace redlatch::test {
namespace cluster_failover_test {

/// Long enough for a failover on a busy machine.
const LockOptions long_enough{.ttl = 2min};

/// How a primary is lost.
enum class Loss { killed, stopped, ordered, taken_over };

void PrintTo(Loss loss, std::ostream* out) {
  constexpr std::array names{"Killed", "Stopped", "Ordered", "TakenOver"};
  *out << names.at(static_cast<std::size_t>(loss));
}

/// The key is at the first of three nodes.
class ClusterFailover : public testing::Test {
 protected:
  /// A stopped node keeps it waiting for its time-outs, so these are not long.
  Client another(const ClientOptions& options = {}) const { return Client(cluster.url(), options); }
  /// Returns the number of the new primary.
  std::size_t fail_over(Loss how) {
    switch (how) {
      case Loss::killed:
        cluster.node(0).kill();
        break;
      case Loss::stopped:
        cluster.node(0).pause();
        break;
      case Loss::ordered:
        return cluster.fail_over(0).value();
      case Loss::taken_over:
        if (!cluster.take_over(3)) throw std::runtime_error("no takeover");
        break;
    }
    const auto now = cluster.promoted_from(0, slot);
    if (!now) throw std::runtime_error("there was no failover");
    return *now;
  }
  void expect_in_step() const { ASSERT_EQ(cluster.command(0, {"WAIT", "1", "20000"}).integer, 1); }

  Cluster cluster{{.node_timeout = 1s}};
  static constexpr unsigned slot = 100;
  const std::string tag = "{" + Cluster::key_in(slot) + "}";
  const std::string key = tag + "job";
};

class ClusterFailoverOfEachKind : public ClusterFailover,
                                  public testing::WithParamInterface<Loss> {};

INSTANTIATE_TEST_SUITE_P(, ClusterFailoverOfEachKind,
                         testing::Values(Loss::killed, Loss::stopped, Loss::ordered,
                                         Loss::taken_over),
                         testing::PrintToStringParamName());

/// True; false when the lock is lost, or cannot be verified in time.
template <class L>
bool is_there(L& lock) {
  return eventually(
      [&] {
        try {
          return lock.verify();
        } catch (const Error& error) {
          EXPECT_TRUE(error.transient()) << error.what();
          return false;
        }
      },
      30s);
}

TEST_P(ClusterFailoverOfEachKind, KeepsLocksOfAllClasses) {
  Client client = another();
  LocksOfOneSlot held(client, tag, long_enough);
  const std::uint64_t fence = held.fenced.fencing_token();
  expect_in_step();
  const std::size_t next = fail_over(GetParam());
  held.for_each([](auto& one) { EXPECT_TRUE(is_there(one)); });
  EXPECT_TRUE(held.are_owned());
  EXPECT_EQ(cluster.command(next, {"GET", tag + "lock"}).text, held.lock.token());
  held.for_each([](auto& one) { EXPECT_EQ(one.unlock(), Unlock::released); });
  held.fenced.lock();
  EXPECT_GT(held.fenced.fencing_token(), fence);
}

TEST_P(ClusterFailoverOfEachKind, WakesWaiters) {
  Client client = another();
  std::optional<Lock> held(std::in_place, client, key, long_enough);
  std::atomic<int> acquired = 0;
  std::deque<Client> clients;
  std::vector<std::jthread> waiting;
  for (int i = 0; i < 3; ++i) {
    Client& own = clients.emplace_back(another());
    waiting.emplace_back([&] {
      const FairLock lock(own, key, 2min, long_enough);
      acquired += lock.owns_lock() ? 1 : 0;
    });
  }
  ASSERT_TRUE(eventually([&] { return cluster.command(0, {"LLEN", queue_of(key)}).integer == 3; }));
  expect_in_step();
  fail_over(GetParam());
  EXPECT_TRUE(is_there(*held));
  held.reset();
  EXPECT_TRUE(eventually([&] { return acquired == 3; }, 30s));
}

/// The lease is short, and the cluster may take longer: a lock is there until it is announced lost,
/// and that before another one can have it.
TEST_P(ClusterFailoverOfEachKind, NeverHasTwoHolders) {
  using Clock = std::chrono::steady_clock;
  struct Lost {
    std::string key{};
    Clock::time_point at{};
  };
  std::mutex mutex;
  std::vector<Lost> lost;
  ClientOptions options;
  options.on_event = [&](const Event& event) {
    const std::lock_guard guard(mutex);
    if (event.kind == EventKind::lost) lost.push_back({event.key, Clock::now()});
  };
  const LockOptions short_lease{.ttl = 10s};
  Client client = another(options);
  std::deque<Lock> held;
  for (int i = 0; i < 20; ++i) held.emplace_back(client, tag + std::to_string(i), short_lease);
  fail_over(GetParam());
  if (GetParam() == Loss::stopped) cluster.node(0).resume();
  Client other = another();
  for (Lock& lock : held) {
    std::optional<Lock> next;
    EXPECT_TRUE(eventually(
        [&] {
          return !error_of([&] { next.emplace(other, lock.key(), std::try_to_lock, short_lease); });
        },
        30s));
    ASSERT_TRUE(next);
    if (!*next) continue;
    const auto had = Clock::now();
    EXPECT_TRUE(eventually([&] { return !lock.owns_lock(); }));
    const std::lock_guard guard(mutex);
    const auto notice = std::ranges::find(lost, lock.key(), &Lost::key);
    ASSERT_NE(notice, lost.end());
    EXPECT_LE(notice->at, had);
  }
}

TEST_P(ClusterFailoverOfEachKind, IsSurvivedByALockThatItsReplicaHas) {
  Client client = another();
  LockOptions durable = long_enough;
  durable.durability = {.replicas = 1, .aof = false, .timeout = 20s};
  Lock lock(client, key, durable);
  const std::size_t next = fail_over(GetParam());
  EXPECT_TRUE(is_there(lock));
  EXPECT_EQ(cluster.command(next, {"GET", key}).text, lock.token());
}

/// A client that has done nothing meanwhile, and goes on at the moment at which a stopped primary
/// does.
TEST_P(ClusterFailoverOfEachKind, IsFollowedByAnIdleClient) {
  Client client = another();
  EXPECT_EQ(Lock(client, key, long_enough).unlock(), Unlock::released);
  expect_in_step();  // or its release may be lost
  const std::size_t next = fail_over(GetParam());
  if (GetParam() == Loss::stopped) cluster.node(0).resume();
  std::optional<Lock> lock;
  EXPECT_TRUE(
      eventually([&] { return !error_of([&] { lock.emplace(client, key, long_enough); }); }, 30s));
  ASSERT_TRUE(lock);
  EXPECT_EQ(cluster.command(next, {"GET", key}).text, lock->token());
}

/// A primary that was stopped, replaced and woken up takes itself for the primary for some time.
/// The client has called meanwhile, so that it knows of the failover, on one connection of four.
TEST_F(ClusterFailover, DoesNotBelieveAFormerPrimaryThatWakesUp) {
  Client client = another();
  std::deque<Lock> held;  // on all connections
  for (int i = 0; i < 8; ++i) held.emplace_back(client, tag + std::to_string(i), long_enough);
  expect_in_step();
  const std::size_t next = fail_over(Loss::stopped);
  Client other = another();
  std::optional<Lock> of_other;
  EXPECT_TRUE(eventually(
      [&] { return !error_of([&] { of_other.emplace(other, key, long_enough); }); }, 30s));
  EXPECT_TRUE(is_there(held.front()));
  cluster.node(0).resume();
  EXPECT_TRUE(eventually(
      [&] {
        return !error_of([&] { EXPECT_FALSE(Lock(client, key, std::try_to_lock, long_enough)); });
      },
      30s));
  for (int i = 0; i < 8; ++i) {
    const std::string name = tag + "after" + std::to_string(i);
    std::optional<Lock> lock;
    EXPECT_TRUE(
        eventually([&] { return !error_of([&] { lock.emplace(client, name, long_enough); }); }));
    EXPECT_EQ(cluster.command(next, {"GET", name}).text, lock->token());
    held.push_back(*std::move(lock));
  }
  EXPECT_TRUE(std::ranges::all_of(held, [](Lock& lock) { return lock.verify(); }));
}

/// What a stopped primary was sent makes it grant the lock as it wakes up, which another client has
/// at the new primary by then.
TEST_F(ClusterFailover, DoesNotBelieveAGrantByAFormerPrimaryThatWakesUp) {
  Client client = another();
  std::optional<Lock> held(std::in_place, client, key, long_enough);
  std::atomic<int> left = 0;
  // So patient that it stays with the stopped node.
  ClientOptions options{.command_timeout = 60s};
  options.on_event = [&](const Event& event) {
    if (event.kind == EventKind::disconnected) ++left;
  };
  Client other = another(options);
  std::atomic<bool> has = false;
  std::string token;
  std::jthread waiting([&] {
    const Lock lock(other, key, 2min, long_enough);
    token = lock.token();
    has = lock.owns_lock();
    EXPECT_TRUE(eventually([&] { return !has; }, 30s));
  });
  ASSERT_TRUE(eventually([&] { return cluster.command(0, {"LLEN", queue_of(key)}).integer == 1; }));
  expect_in_step();
  const std::size_t next = fail_over(Loss::stopped);
  cluster.command(next, {"SET", key, "somebody else's", "PX", "100000"});
  held.reset();  // sends the release, and does not wait
  cluster.node(0).resume();
  EXPECT_TRUE(eventually([&] { return left > 0; }, 30s));
  EXPECT_TRUE(eventually(
      [&] {
        return cluster.command(next, {"LLEN", queue_of(key)}).integer == 1 || has;
      },
      30s));
  EXPECT_FALSE(has);
  EXPECT_EQ(cluster.command(next, {"GET", key}).text, "somebody else's");
  cluster.command(next, {"DEL", key});
  EXPECT_TRUE(eventually([&] { return has.load(); }, 30s));
  EXPECT_EQ(cluster.command(next, {"GET", key}).text, token);
  has = false;
}

/// The only primary of a cluster, with a replica that the client has not heard of, is sent a
/// command while it is stopped, and answers it as it wakes up.
TEST(ClusterOfOnePrimary, IsNotBelievedWhenAReplicaThatIsNewHasReplacedIt) {
  Cluster cluster({.primaries = 1, .replicas = 0, .node_timeout = 1s});
  Client client(cluster.url(), less_patient());
  const std::string key = Cluster::key_in(100);
  { const Lock connects(client, key, long_enough); }
  const std::size_t added = cluster.add_node();
  const std::string id = cluster.command(0, {"CLUSTER", "MYID"}).text;
  ASSERT_TRUE(eventually(
      [&] {
        return cluster.command(added, {"CLUSTER", "REPLICATE", id}).text == "OK";
      },
      30s));
  ASSERT_TRUE(eventually([&] { return cluster.replica_of(0) == added; }, 30s));
  ASSERT_TRUE(eventually([&] { return cluster.command(0, {"WAIT", "1", "1000"}).integer == 1; }));
  cluster.node(0).pause();
  std::jthread trying([&] {
    EXPECT_TRUE(eventually(
        [&] {
          return !error_of([&] { EXPECT_FALSE(Lock(client, key, std::try_to_lock, long_enough)); });
        },
        30s));
  });
  ASSERT_TRUE(cluster.take_over(added));
  cluster.command(added, {"SET", key, "somebody else's", "PX", "100000"});
  // By then the client does not trust it any more.
  ASSERT_TRUE(eventually([&] {
    return cluster.command(added, {"CLUSTER", "NODES"}).text.find("fail") != std::string::npos;
  }));
  cluster.node(0).resume();
  trying.join();
  EXPECT_EQ(cluster.command(added, {"GET", key}).text, "somebody else's");
}

/// A node without a replica is down, and with it all of the cluster.
TEST(ClusterDown, IsRiddenOutByAWaitThatWantsTo) {
  Cluster cluster({.replicas = 0, .node_timeout = 1s});
  Client client(cluster.url(), less_patient());
  const auto keys = a_key_of_each();
  for (const std::string& key : keys) const Lock connects(client, key);
  cluster.node(0).kill();
  ASSERT_TRUE(eventually(
      [&] {
        return cluster.command(1, {"GET", keys[1]}).text.starts_with("CLUSTERDOWN");
      },
      30s));
  for (std::size_t i : {0U, 1U}) {
    const Error error = thrown_by([&] { const Lock lock(client, keys[i]); });
    EXPECT_TRUE(error.code() == (i == 0 ? Errc::unreachable : Errc::not_writable)) << error.what();
    EXPECT_TRUE(error.transient());
  }
  std::atomic<int> had = 0;
  std::vector<std::jthread> threads;
  for (std::size_t i : {0U, 1U}) {
    threads.emplace_back([&, i] {
      const Lock lock(client, keys[i], {.ttl = 1min, .ride_out = true});
      ++had;
    });
  }
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 2; }));
  cluster.node(0).start();
  EXPECT_TRUE(eventually([&] { return had == 2; }, 40s));
}

/// A node that comes back on another port, as in containers.
TEST(ClusterNodes, MayComeAndGo) {
  Cluster cluster(primaries_only());
  Client client(cluster.url(), patient());
  const std::string key = a_key_of_each()[0];
  const unsigned slot = Cluster::slot_of(key);
  Lock lock(client, key, {.ttl = 6s});
  const std::size_t added = cluster.add_node();
  cluster.begin_move(slot, added);
  const Lock meanwhile(client, "{" + key + "}2", {.ttl = 6s});
  cluster.finish_move(slot, added);
  EXPECT_TRUE(lock.verify());
  const std::uint64_t renewed = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= renewed + 4; }, 20s));
  cluster.move_slot(slot, 1);
  cluster.remove_node(added);
  EXPECT_TRUE(lock.verify());
  const std::size_t another = cluster.add_node();
  cluster.move_slot(slot, another);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(cluster.command(another, {"GET", key}).text, lock.token());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(client.metrics().lost, 0U);
}

}  // namespace cluster_failover_test
}  // namespace redlatch::test
