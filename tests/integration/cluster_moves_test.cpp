// Locks whose slot moves from one node of a cluster to another.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "cluster_locks.hpp"

namespace redlatch::test {
namespace cluster_moves_test {

/// Renewed every two seconds.
const LockOptions renewed_often{.ttl = 6s};
/// A waiter whose slot moves has its lock again after a refresh period of a second, and what a busy
/// machine takes.
constexpr std::chrono::seconds soon{5};

/// Moves the slot of "{job}" from the node `from` to the node `to`.
class ClusterMoves : public testing::Test {
 protected:
  static void SetUpTestSuite() { shared = std::make_unique<Cluster>(primaries_only()); }
  static void TearDownTestSuite() { shared.reset(); }

  ClusterMoves() { client.ping(); }
  ~ClusterMoves() override {
    try {
      if (cluster.primary_of(slot) == from) cluster.abort_move(slot, to);
      cluster.move_slot(slot, from);
      cluster.command(from, {"FLUSHALL"});
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }

  RawReply asking(const std::vector<std::string>& words) const {
    RawClient raw = cluster.at(to);
    raw.command({"ASKING"});
    return raw.command(words);
  }
  /// The value of the key, at whichever of the two nodes has it.
  std::string value_of(const std::string& name) const {
    const RawReply here = cluster.command(from, {"GET", name});
    return here.error ? asking({"GET", name}).text : here.text;
  }
  std::int64_t keys_at(std::size_t node) const {
    return cluster.command(node, {"CLUSTER", "COUNTKEYSINSLOT", std::to_string(slot)}).integer;
  }
  void migrate(const std::string& name) const {
    const RawReply reply = cluster.command(
        from,
        {"MIGRATE", "127.0.0.1", std::to_string(cluster.port(to)), name, "0", "5000", "REPLACE"});
    EXPECT_EQ(reply.text, "OK");
  }
  Client another(const ClientOptions& options = patient()) const {
    return Client(cluster.url(), options);
  }

  inline static std::unique_ptr<Cluster> shared{};
  Cluster& cluster = *shared;
  const std::string key = "{job}";
  const unsigned slot = Cluster::slot_of(key);
  const std::size_t from = cluster.primary_of(slot).value();
  const std::size_t to = (from + 1) % 3;
  Client client = another();
};

// A slot that has moved

TEST_F(ClusterMoves, LeaveLocksOfAllClassesHeldRenewedAndReleased) {
  LocksOfOneSlot held(client, key, renewed_often);
  const std::uint64_t fence = held.fenced.fencing_token();
  cluster.move_slot(slot, to);
  const std::uint64_t before = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= before + held.size; }, 20s));
  EXPECT_TRUE(held.are_owned());
  EXPECT_EQ(client.metrics().renewal_failed, 0U);
  held.for_each([](auto& one) { EXPECT_TRUE(one.verify()); });
  held.for_each([](auto& one) { EXPECT_TRUE(one.extend()); });
  held.for_each([](auto& one) { EXPECT_EQ(one.unlock(), Unlock::released); });
  held.for_each([](auto& one) { EXPECT_TRUE(one.try_lock()); });
  EXPECT_GT(held.fenced.fencing_token(), fence);
  held.for_each([](auto& one) { EXPECT_EQ(one.unlock(), Unlock::released); });
  EXPECT_EQ(keys_at(to), 1);  // the counter of fencing tokens
  EXPECT_EQ(keys_at(from), 0);
}

TEST_F(ClusterMoves, AreFollowedByTheNextCallOfEachKind) {
  const auto move = [&](std::size_t where) { cluster.move_slot(slot, where); };
  Lock lock(client, key, long_lease);
  move(to);
  EXPECT_TRUE(lock.extend());
  move(from);
  EXPECT_TRUE(lock.verify());
  move(to);
  EXPECT_FALSE(Lock(client, key, std::try_to_lock, long_lease));
  move(from);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  move(to);
  EXPECT_TRUE(lock.try_lock());
  move(from);
  { const Lock scoped = std::move(lock); }
  EXPECT_TRUE(eventually([&] { return value_of(key).empty(); }));
}

// A slot that is being moved

TEST_F(ClusterMoves, LetAFreeKeyBeLockedMeanwhile) {
  cluster.begin_move(slot, to);
  Lock lock(client, key, renewed_often);
  EXPECT_EQ(asking({"GET", key}).text, lock.token());
  EXPECT_EQ(keys_at(from), 0);
  Client other = another();
  EXPECT_FALSE(Lock(other, key, std::try_to_lock));
  const std::uint64_t before = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= before + 2; }, 30s));
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(keys_at(to), 0);
  EXPECT_TRUE(lock.try_lock());
  cluster.finish_move(slot, to);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// Redis takes no command with two keys that are both free, at neither of the two nodes. Says so at
/// once; a wait that rides outages out has the lock when the slot has moved.
TEST_F(ClusterMoves, SayThatALockWithFurtherKeysCannotBeHadMeanwhile) {
  cluster.begin_move(slot, to);
  std::vector<std::function<void(const LockOptions&)>> makers{
      [&](const LockOptions& options) { const FairLock lock(client, key, options); },
      [&](const LockOptions& options) { const ReadLock lock(client, key + "s", options); },
      [&](const LockOptions& options) { const WriteLock lock(client, key + "w", options); },
      [&](const LockOptions& options) { const RecursiveLock lock(client, key + "r", options); },
      [&](const LockOptions& options) { const Permit lock(client, key + "p", 3, options); },
      [&](const LockOptions& options) {
        const MultiLock lock(client, {key + "a", key + "b"}, options);
      },
      [&](const LockOptions& options) {
        const Lock lock(client, key + "n", LocksOfOneSlot::with_fencing(options));
      }};
  for (const auto& make : makers) {
    const Error error = thrown_by([&] { make(long_lease); });
    EXPECT_EQ(error.code(), Errc::not_writable);
    EXPECT_NE(std::string(error.what()).find("its cluster is moving keys"), std::string::npos)
        << error.what();
  }
  LockOptions patience = long_lease;
  patience.ride_out = true;
  std::atomic<std::size_t> had = 0;
  std::vector<std::jthread> threads;
  for (const auto& make : makers) {
    threads.emplace_back([&] {
      make(patience);
      ++had;
    });
  }
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == makers.size(); }));
  EXPECT_EQ(had, 0U);
  cluster.finish_move(slot, to);
  EXPECT_TRUE(eventually([&] { return had == makers.size(); }));
}

TEST_F(ClusterMoves, LeaveLocksHeldWhoseKeysHaveGoneAheadOfTheSlot) {
  LocksOfOneSlot held(client, key, renewed_often);
  cluster.command(to, {"SCRIPT", "FLUSH"});
  cluster.begin_move(slot, to);
  cluster.move_keys(slot, to);
  const std::uint64_t before = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= before + 4 * held.size; }, 40s));
  EXPECT_TRUE(held.are_owned());
  EXPECT_EQ(client.metrics().renewal_failed, 0U);
  held.for_each([](auto& one) { EXPECT_TRUE(one.extend()); });
  held.for_each([](auto& one) { EXPECT_TRUE(one.verify()); });
  held.for_each([](auto& one) {
    constexpr bool is_multi = std::is_same_v<decltype(one), MultiLock&>;
    EXPECT_EQ(one.unlock(), is_multi ? Unlock::unknown : Unlock::released) << one.key();
  });
  cluster.finish_move(slot, to);
  EXPECT_TRUE(eventually([&] { return keys_at(to) == 1; }));
}

/// The lock is still at the old node, its queue is not, or there is none: a script of both is
/// answered TRYAGAIN. Without a command of one key for it, a MultiLock has to wait.
TEST_F(ClusterMoves, LetALockBeReleasedThatIsStillThere) {
  LocksOfOneSlot held(client, key, long_lease);
  cluster.begin_move(slot, to);
  held.for_each([](auto& one) {
    constexpr bool is_multi = std::is_same_v<decltype(one), MultiLock&>;
    EXPECT_EQ(one.unlock(), is_multi ? Unlock::unknown : Unlock::released) << one.key();
  });
  EXPECT_EQ(keys_at(from), 3);  // those of the MultiLock, and the counter of fencing tokens
  cluster.finish_move(slot, to);
  EXPECT_TRUE(eventually([&] { return keys_at(to) == 1; }));
}

/// It stays there for the rest of its time only.
TEST_F(ClusterMoves, LetALockWithAMinimumHoldBeReleasedThatIsStillThere) {
  LockOptions options = long_lease;
  options.min_hold = 20s;
  Lock lock(client, key, options);
  const std::string value = lock.token();
  cluster.begin_move(slot, to);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_NE(value_of(key), value);
  EXPECT_LE(cluster.command(from, {"PTTL", key}).integer, 21'000);
}

/// The same at the end of a scope, which does not wait.
TEST_F(ClusterMoves, LetAScopeEndWithAKeyThatIsStillThere) {
  {
    const Lock first(client, key, long_lease);
    const FairLock second(client, key + "second", long_lease);
    cluster.begin_move(slot, to);
  }
  EXPECT_TRUE(eventually([&] { return keys_at(from) == 0; }));
  EXPECT_EQ(keys_at(to), 0);
}

TEST_F(ClusterMoves, ThatAreAbortedLeaveLocksAsTheyWere) {
  Lock before(client, key, renewed_often);
  cluster.begin_move(slot, to);
  Lock meanwhile(client, key + "meanwhile", renewed_often);
  EXPECT_TRUE(meanwhile.extend());
  cluster.abort_move(slot, to);
  const std::uint64_t renewed = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= renewed + 4; }, 20s));
  EXPECT_TRUE(before.verify());
  EXPECT_TRUE(meanwhile.verify());
  EXPECT_EQ(before.unlock(), Unlock::released);
  EXPECT_EQ(meanwhile.unlock(), Unlock::released);
  EXPECT_EQ(keys_at(from), 0);
}

/// Conditions by WATCH, or by DELIFEQ and SET with IFEQ, instead of scripts.
TEST_F(ClusterMoves, NeedNoScripts) {
  ClientOptions options = patient();
  options.scripting = false;
  Client plain = another(options);
  Client other = another(options);
  const auto is_exclusive = [&] { return !Lock(other, key, std::try_to_lock); };
  Lock lock(plain, key, renewed_often);
  cluster.begin_move(slot, to);
  EXPECT_TRUE(is_exclusive());
  EXPECT_TRUE(lock.extend());
  cluster.move_keys(slot, to);
  EXPECT_TRUE(is_exclusive());
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  const std::uint64_t renewed = plain.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return plain.metrics().renewed > renewed; }, 20s));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(asking({"EXISTS", key}).integer, 0);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_TRUE(is_exclusive());
  cluster.finish_move(slot, to);
  EXPECT_TRUE(is_exclusive());
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(lock.try_lock());
  cluster.move_slot(slot, from);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(plain.metrics().lost, 0U);
}

// Waiters

/// How a test has a class of locks waited for: on the keys of a tag.
struct WaitedClass {
  std::string name;
  std::function<void(Client&, const std::string& tag, std::stop_token,
                     const std::function<void()>&)>
      wait;
  std::function<std::shared_ptr<void>(Client&, const std::string& tag)> hold;
};

void PrintTo(const WaitedClass& one, std::ostream* out) { *out << one.name; }

template <class L, class Key>
WaitedClass waited(std::string name, std::function<Key(const std::string&)> key_of,
                   LockOptions options = long_lease) {
  return {std::move(name),
          [key_of, options](Client& client, const std::string& tag, std::stop_token stop,
                            const std::function<void()>& held) {
            const L lock(client, key_of(tag), std::move(stop), options);
            if (lock) held();
          },
          [key_of, options](Client& client, const std::string& tag) -> std::shared_ptr<void> {
            return std::make_shared<L>(client, key_of(tag), options);
          }};
}

std::string itself(const std::string& tag) { return tag; }
std::vector<std::string> two_keys(const std::string& tag) { return {tag + "a", tag + "b"}; }

WaitedClass waited_permit() {
  return {"Permit",
          [](Client& client, const std::string& tag, std::stop_token stop,
             const std::function<void()>& held) {
            const Permit permit(client, tag, 1, std::move(stop), long_lease);
            if (permit) held();
          },
          [](Client& client, const std::string& tag) -> std::shared_ptr<void> {
            return std::make_shared<Permit>(client, tag, 1, long_lease);
          }};
}

WaitedClass waited_read_lock() {
  WaitedClass one = waited<ReadLock, std::string>("ReadLock", itself);
  one.hold = waited<WriteLock, std::string>("WriteLock", itself).hold;
  return one;
}

/// A thread with a client of its own, as another process would have.
class Waiting {
 public:
  Waiting(
      Client client, const WaitedClass& what, const std::string& tag,
      std::function<void()> held = [] {})
      : client_(std::move(client)), thread_([this, &what, tag, held](const std::stop_token& stop) {
          try {
            what.wait(client_, tag, stop, [&] {
              held();
              has_it_ = true;
            });
          } catch (const std::exception& error) {
            ADD_FAILURE() << error.what();
          }
        }) {}

  bool is_told_to_wait() const {
    return eventually([&] { return client_.metrics().contended == 1; });
  }
  bool has_it(std::chrono::milliseconds bound) const {
    return eventually([&] { return has_it_.load(); }, bound);
  }

 private:
  Client client_;
  std::atomic<bool> has_it_ = false;
  std::jthread thread_;
};

class ClusterMovesOfWaiters : public ClusterMoves, public testing::WithParamInterface<WaitedClass> {
 protected:
  /// Two wait while one holds, then the slot moves up to a point, and the holder releases. Redis
  /// lets none but a Lock be had before the end of the move.
  void expect_the_lock_after(const std::function<void()>& begin) {
    auto held = GetParam().hold(client, key);
    {
      const Waiting first(another(), GetParam(), key);
      const Waiting second(another(), GetParam(), key);
      ASSERT_TRUE(first.is_told_to_wait() && second.is_told_to_wait());
      cluster.begin_move(slot, to);
      begin();
      held.reset();
      if (GetParam().name != "Lock") finish();
      EXPECT_TRUE(first.has_it(soon));
      EXPECT_TRUE(second.has_it(soon));
    }
    finish();
    EXPECT_TRUE(eventually([&] { return keys_at(to) == 0; }));
    EXPECT_EQ(keys_at(from), 0);
  }
  void finish() const {
    if (cluster.primary_of(slot) == from) cluster.finish_move(slot, to);
  }
  /// The queue goes ahead, or all but that.
  void migrate_if(bool is_queue) const {
    const RawReply keys =
        cluster.command(from, {"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), "10"});
    for (const RawReply& one : keys.elements) {
      if ((one.text.find(":queue:") != std::string::npos) == is_queue) migrate(one.text);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(
    , ClusterMovesOfWaiters,
    testing::Values(waited<Lock, std::string>("Lock", itself),
                    waited<FairLock, std::string>("FairLock", itself), waited_read_lock(),
                    waited<WriteLock, std::string>("WriteLock", itself),
                    waited<RecursiveLock, std::string>("RecursiveLock", itself),
                    waited<MultiLock, std::vector<std::string>>("MultiLock", two_keys),
                    waited_permit()),
    [](const auto& one) { return one.param.name; });

TEST_P(ClusterMovesOfWaiters, HaveTheLockAtTheNewNode) {
  expect_the_lock_after([&] { finish(); });
}

TEST_P(ClusterMovesOfWaiters, HaveTheLockThatIsReleasedBeforeAnyKeyHasGone) {
  expect_the_lock_after([] {});
}

TEST_P(ClusterMovesOfWaiters, HaveTheLockThatHasGoneAheadWithItsQueue) {
  expect_the_lock_after([&] { cluster.move_keys(slot, to); });
}

TEST_P(ClusterMovesOfWaiters, HaveTheLockWhoseQueueHasGoneAhead) {
  expect_the_lock_after([&] { migrate_if(true); });
}

TEST_P(ClusterMovesOfWaiters, HaveTheLockThatHasGoneAheadOfItsQueue) {
  expect_the_lock_after([&] { migrate_if(false); });
}

/// Of a Lock, which is had by a command with one key.
TEST_F(ClusterMoves, LetALockBeWaitedForThatWasAcquiredMeanwhile) {
  cluster.begin_move(slot, to);
  std::optional<Lock> held(std::in_place, client, key, long_lease);
  const WaitedClass lock = waited<Lock, std::string>("Lock", itself);
  const Waiting first(another(), lock, key);
  const Waiting second(another(), lock, key);
  ASSERT_TRUE(first.is_told_to_wait() && second.is_told_to_wait());
  held.reset();
  EXPECT_TRUE(first.has_it(soon));
  EXPECT_TRUE(second.has_it(soon));
}

}  // namespace cluster_moves_test
}  // namespace redlatch::test
