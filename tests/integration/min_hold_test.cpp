#include <atomic>
#include <deque>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/queue.hpp>

#include "child.hpp"
#include "family.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace min_hold_test {

/// What Lock and FairLock have in common; the holder has a client of its own.
template <class L>
class EveryLockMinHold : public QueueTest {
 protected:
  /// A lock that is released at once, and what the server says then.
  L released(const LockOptions& options) {
    L lock(client, "job", options);
    value = raw.get("job");
    EXPECT_EQ(lock.unlock(), Unlock::released);
    return lock;
  }

  std::string value{};
};
using WithMinHold = testing::Types<Lock, FairLock>;
TYPED_TEST_SUITE(EveryLockMinHold, WithMinHold, );

TYPED_TEST(EveryLockMinHold, LeavesTheKeyForTheRestOfIt) {
  const std::int64_t before = this->raw.time_in_milliseconds();
  TypeParam lock = this->released({.ttl = 20s, .min_hold = 40s});
  const std::int64_t time_left = this->raw.pttl("job");
  EXPECT_GE(this->raw.time_in_milliseconds() + time_left, before + 40'000);
  EXPECT_LE(time_left, 40'000);
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST(EveryLockMinHold, LeavesTheKeyAtTheEndOfAScope) {
  { const TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 40s}); }
  EXPECT_TRUE(eventually([&] { return this->raw.pttl("job") > 20'000; }));
}

TYPED_TEST(EveryLockMinHold, IsHeldByNoTokenAfterwards) {
  const TypeParam lock = this->released({.ttl = 20s, .label = "me", .min_hold = 20s});
  const std::string left = this->raw.get("job");
  EXPECT_EQ(left, this->value.substr(9));
  EXPECT_TRUE(left.ends_with(" me")) << left;
}

TYPED_TEST(EveryLockMinHold, ShutsOutItsOwnerAsAllOthers) {
  TypeParam lock = this->released({.ttl = 20s, .min_hold = 20s});
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(20ms));
  Client other = this->another();
  EXPECT_FALSE(TypeParam(other, "job", std::try_to_lock, long_lease));
  EXPECT_FALSE(MultiLock(other, {"job", "{job}mail"}, std::try_to_lock));
}

TYPED_TEST(EveryLockMinHold, IsGrantedToTheFirstWaiterWhenItIsOver) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 500ms});
  const auto held = std::chrono::steady_clock::now();
  Rival<TypeParam> first(this->another());
  ASSERT_TRUE(this->is_queued(1));
  Rival<TypeParam> second(this->another());
  ASSERT_TRUE(this->is_queued(2));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  ASSERT_TRUE(first.has_it());
  EXPECT_GE(std::chrono::steady_clock::now() - held, 500ms);
  EXPECT_FALSE(second.held);
  first.ends();
  EXPECT_TRUE(second.has_it());
}

/// A waiter that queued up behind others does not know when it has become the first: there is a
/// message for that, in front of which a waiter that is gone does not stand.
/// As at a node of a cluster.
bool is_of_shard(const std::string& channel) { return channel.starts_with("redlatch:shard:"); }

TYPED_TEST(EveryLockMinHold, IsAnnouncedToTheFirstLiveWaiter) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 20s});
  Rival<TypeParam> rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  const auto first = this->entry(0);
  this->raw.command({"LPUSH", this->queue, "99999999999999 60000 redlatch:gone a-b-c-d-e"});
  RawClient listener(this->server.socket());
  listener.command({is_of_shard(first.channel) ? "SSUBSCRIBE" : "SUBSCRIBE", first.channel});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(listener.next().elements.at(2).text, first.value + '\n');
  EXPECT_FALSE(rival.held);
}

/// By its timer alone, an entry is refreshed once in a second.
TYPED_TEST(EveryLockMinHold, IsAskedForAtOnceByAWaiterThatIsTold) {
  TypeParam lock(this->client, "job", long_lease);
  Rival<TypeParam> rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  const auto entry = this->entry(0);
  EXPECT_TRUE(eventually(
      [&, told = 0]() mutable {
        const std::int64_t before = this->raw.calls("lset");
        const char* const publish = is_of_shard(entry.channel) ? "SPUBLISH" : "PUBLISH";
        this->raw.command({publish, entry.channel, entry.value + '\n'});
        return eventually([&] { return this->raw.calls("lset") > before; }) && ++told == 30;
      },
      20s));
  EXPECT_FALSE(rival.held);
}

TYPED_TEST(EveryLockMinHold, LeavesTheQueueAlone) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 20s});
  Rival<TypeParam> rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(this->queued(), 1);
  EXPECT_GT(this->raw.pttl("job"), 10'000);
  EXPECT_FALSE(rival.held);
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockMinHold, IsOverForAReleaseThatComesLater) {
  TypeParam lock(this->client, "job", {.auto_renew = false, .min_hold = 20ms});
  EXPECT_TRUE(eventually([&] { return lock.remaining() < 9800ms; }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(this->raw.exists("job"));
}

TYPED_TEST(EveryLockMinHold, SurvivesTheProcess) {
  SharedMemory<std::atomic<bool>> held;
  Child child([&] {
    Client own(this->server.url(), patient());
    const TypeParam lock(own, "job", {.ttl = 20s, .min_hold = 40s});
    *held = lock.owns_lock();
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(*held);
  EXPECT_GT(this->raw.pttl("job"), 20'000);
}

TYPED_TEST(EveryLockMinHold, IsRenewedPastItsTtl) {
  TypeParam lock(this->client, "job", {.ttl = 1500ms, .min_hold = 60s});
  ASSERT_TRUE(eventually([&] { return this->client.metrics().renewed >= 3; }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_LE(this->raw.pttl("job"), 1500) << "a holder that dies holds for its ttl";
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_GT(this->raw.pttl("job"), 30'000);
}

TYPED_TEST(EveryLockMinHold, IsNotShortenedByAnExtension) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 40s});
  EXPECT_TRUE(lock.extend(2s));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_GT(this->raw.pttl("job"), 20'000);
}

TYPED_TEST(EveryLockMinHold, DoesNotBringBackAKeyThatIsGone) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 20s});
  this->raw.command({"DEL", "job"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(this->raw.exists("job"));
}

TYPED_TEST(EveryLockMinHold, LeavesAStrangersKeyAlone) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 20s});
  this->raw.command({"SET", "job", "a stranger"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(this->raw.get("job"), "a stranger");
  EXPECT_EQ(this->raw.pttl("job"), -1);
}

TYPED_TEST(EveryLockMinHold, WorksWithFencing) {
  TypeParam lock(this->client, "job", {.fencing = true, .min_hold = 50ms});
  const std::uint64_t first = lock.fencing_token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  lock.lock();
  EXPECT_GT(lock.fencing_token(), first);
}

TYPED_TEST(EveryLockMinHold, IsKeptBySendingTheScriptAgainWhenItIsForgotten) {
  TypeParam lock(this->client, "job", {.ttl = 20s, .min_hold = 20s});
  this->raw.command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_GT(this->raw.pttl("job"), 10'000);
}

/// A late command of the old lock, as one that was delayed on a connection that broke.
TYPED_TEST(EveryLockMinHold, IsOutOfReachForTheOldToken) {
  const TypeParam lock = this->released({.ttl = 20s, .min_hold = 40s});
  const auto late = [&](const protocol::Script& script, const std::vector<std::string>& arguments) {
    std::vector<std::string> words{"EVAL", std::string(script.text),
                                   std::to_string(script.keys_of_each()), "job"};
    if (script.keys_of_each() > 1) words.push_back(this->queue);
    words.push_back(this->value);
    words.insert(words.end(), arguments.begin(), arguments.end());
    return this->raw.command(words).integer;
  };
  EXPECT_EQ(late(protocol::extend_script, {"1000"}), 0);
  EXPECT_EQ(late(protocol::release_script, {}), 0);
  EXPECT_EQ(late(protocol::leave_script, {}), 0);
  EXPECT_GT(this->raw.pttl("job"), 20'000);
}

class LockMinHold : public QueueTest {
 protected:
  /// A thread of the holder's own client that waits for the lock.
  std::future<std::chrono::steady_clock::time_point> waiter(const LockOptions& options) {
    auto future = std::async(std::launch::async, [&, options] {
      const Lock lock(client, "job", options);
      return std::chrono::steady_clock::now();
    });
    EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
    return future;
  }
};

TEST_F(LockMinHold, HoldsForThreadsOfTheSameClient) {
  Lock lock(client, "job", {.ttl = 60s, .min_hold = 500ms});
  const auto held = std::chrono::steady_clock::now();
  auto next = waiter(long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_GE(next.get() - held, 500ms);
}

TEST_F(LockMinHold, IsTheReceiversOwnAfterAHandOver) {
  Lock lock(client, "job", long_lease);
  auto next = waiter({.ttl = 60s, .min_hold = 20s});
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  next.get();
  EXPECT_TRUE(eventually([&] { return raw.get("job") == token.substr(9); }));
  EXPECT_LE(raw.pttl("job"), 20'000);
}

/// Five hosts whose clocks differ by 20 ms from each other, and a job of 5 ms.
TEST_F(LockMinHold, LetsOneHostDoAJobThatAllOfThemStart) {
  SharedMemory<std::atomic<int>> runs;
  const auto start = std::chrono::steady_clock::now() + 100ms;
  std::deque<Child> hosts;
  for (int i = 0; i < 5; ++i) {
    hosts.emplace_back([&, i] {
      std::this_thread::sleep_until(start + i * 20ms);
      Client own(server.url(), patient());
      const Lock lock(own, "nightly", std::try_to_lock, {.ttl = 60s, .min_hold = 60s});
      if (!lock) return;
      ++*runs;
      std::this_thread::sleep_for(5ms);
    });
  }
  for (Child& host : hosts) EXPECT_EQ(host.wait(), 0);
  EXPECT_EQ(*runs, 1);
}

TEST_F(LockMinHold, WorksWithoutScripting) {
  ClientOptions options = patient();
  options.scripting = false;
  Client without(server.url(), options);
  Lock lock(without, "job", {.ttl = 20s, .label = "me", .min_hold = 40s});
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_GT(raw.pttl("job"), 20'000);
  EXPECT_EQ(raw.get("job"), token.substr(9) + " me");
  EXPECT_FALSE(lock.try_lock_for(20ms));
  EXPECT_EQ(raw.calls("eval") + raw.calls("evalsha"), 0);
}

TEST_F(LockMinHold, DoesNotBringBackAKeyWithoutScripting) {
  ClientOptions options = patient();
  options.scripting = false;
  Client without(server.url(), options);
  Lock lock(without, "job", {.ttl = 20s, .min_hold = 20s});
  raw.command({"DEL", "job"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(raw.exists("job"));
  lock.lock();
  raw.command({"SET", "job", "a stranger"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(LockMinHold, IsWaitedForWithoutScripting) {
  ClientOptions options = patient();
  options.scripting = false;
  Client without(server.url(), options);
  const auto before = std::chrono::steady_clock::now();
  { const Lock lock(without, "job", {.ttl = 60s, .min_hold = 300ms}); }
  const Lock next(without, "job", long_lease);
  EXPECT_GE(std::chrono::steady_clock::now() - before, 300ms);
}

/// An acquisition whose answer was lost did no work, so nothing is kept for it.
TEST(LockMinHoldInDoubt, IsNotKept) {
  RedisServer server;
  RawClient raw(server.socket());
  Client client(server.url(), {.connect_timeout = 10s, .command_timeout = 500ms, .connections = 1});
  EXPECT_TRUE(eventually([&] { return !error_of([&] { const Lock warm_up(client, "warm"); }); }));
  server.pause();
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", {.ttl = 60s, .min_hold = 60s}); }),
            Errc::timed_out);
  server.resume();
  EXPECT_TRUE(eventually([&] { return raw.calls("set") >= 2 && !raw.exists("job"); }));
}

TEST(LockMinHoldOfOthers, IsUnsupported) {
  Client client("redis://127.0.0.1:1");
  Quorum nodes{"redis://127.0.0.1:1", "redis://127.0.0.1:2", "redis://127.0.0.1:3"};
  const LockOptions options{.min_hold = 1s};
  EXPECT_EQ(error_of([&] { const ReadLock lock(client, "job", options); }), Errc::unsupported);
  EXPECT_EQ(error_of([&] { const WriteLock lock(client, "job", options); }), Errc::unsupported);
  EXPECT_EQ(error_of([&] { const RecursiveLock lock(client, "job", options); }), Errc::unsupported);
  EXPECT_EQ(error_of([&] { const RecursiveLock lock(client, "job", Owner{"me"}, options); }),
            Errc::unsupported);
  EXPECT_EQ(error_of([&] {
              const MultiLock lock(client, {"job", "{job}mail"}, options);
            }),
            Errc::unsupported);
  EXPECT_EQ(error_of([&] { const Permit lock(client, "job", 3, options); }), Errc::unsupported);
  EXPECT_EQ(error_of([&] { const Redlock lock(nodes, "job", options); }), Errc::unsupported);
  EXPECT_FALSE(Lock(client, "job", std::defer_lock, options).owns_lock());
  EXPECT_FALSE(FairLock(client, "job", std::defer_lock, options).owns_lock());
  const Error error =
      thrown_by([&] { const Permit lock(client, "job", 3, std::defer_lock, options); });
  EXPECT_NE(std::string(error.what()).find("min_hold"), std::string::npos) << error.what();
}

}  // namespace min_hold_test
}  // namespace redlatch::test
