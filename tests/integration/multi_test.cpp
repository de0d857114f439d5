// A MultiLock has all of its keys or none. The keys of these tests are in one slot of a cluster.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <future>
#include <list>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/side_key.hpp>

#include "child.hpp"
#include "family.hpp"
#include "proxy.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace multi_test {

using Keys = std::vector<std::string>;

class MultiLockKeys : public QueueTest {
 protected:
  bool has_any(const Keys& keys) {
    for (const std::string& key : keys) {
      if (raw.exists(key)) return true;
    }
    return false;
  }
  void set_counter(const std::string& key, const std::string& value) {
    raw.command({"SET", protocol::side_key(key, "fence"), "fence " + value});
  }

  MultiLock lock{client, {"job", "{job}mail", "{job}log"}, std::defer_lock, long_lease};
};

TEST_F(MultiLockKeys, AreTakenWithOneValueAndGivenBack) {
  lock.lock();
  for (const char* key : {"job", "{job}mail", "{job}log"}) {
    EXPECT_EQ(raw.get(key), lock.token());
    EXPECT_GT(raw.pttl(key), 50'000);
  }
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(has_any({"job", "{job}mail", "{job}log"}));
}

TEST_F(MultiLockKeys, AreTakenAllOrNone) {
  for (const char* key : {"job", "{job}mail", "{job}log"}) {
    const Lock one(client, key, long_lease);
    EXPECT_FALSE(lock.try_lock()) << key << " is held";
    EXPECT_EQ(lock.token(), "");
    for (const char* other : {"job", "{job}mail", "{job}log"}) {
      EXPECT_EQ(raw.exists(other), std::string(other) == key);
    }
  }
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(MultiLockKeys, KeepTheLocksOfEachKeyOut) {
  lock.lock();
  for (const char* key : {"job", "{job}mail", "{job}log"}) {
    EXPECT_FALSE(Lock(client, key, std::try_to_lock)) << key;
    EXPECT_FALSE(FairLock(client, key, std::try_to_lock)) << key;
  }
}

TEST_F(MultiLockKeys, AreExtendedAndVerifiedTogether) {
  lock.lock();
  EXPECT_TRUE(lock.extend(120s));
  for (const char* key : {"job", "{job}mail", "{job}log"}) EXPECT_GT(raw.pttl(key), 100'000);
  EXPECT_TRUE(lock.verify());
  raw.command({"DEL", "{job}log"});
  EXPECT_FALSE(lock.verify());
}

/// The owner may be at work still, so that the rest is kept for now.
TEST_F(MultiLockKeys, AreLostTogetherAndNotBroughtBack) {
  lock.lock();
  raw.command({"DEL", "{job}mail"});
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(raw.exists("job"));
  EXPECT_FALSE(raw.exists("{job}mail"));
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(has_any({"job", "{job}log"}));
}

TEST_F(MultiLockKeys, AreNotExtendedWhenOneHasGoneToSomebodyElse) {
  lock.lock();
  raw.command({"SET", "{job}log", "a stranger"});
  EXPECT_FALSE(lock.extend(1h));
  EXPECT_LE(raw.pttl("job"), 60'000);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(has_any({"job", "{job}mail"}));
  EXPECT_EQ(raw.get("{job}log"), "a stranger");
}

TEST_F(MultiLockKeys, AreGivenBackWithoutTheOneThatIsNoLockAnyMore) {
  lock.lock();
  raw.command({"DEL", "{job}mail"});
  raw.command({"LPUSH", "{job}mail", "letter"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(has_any({"job", "{job}log"}));
  EXPECT_EQ(raw.command({"LLEN", "{job}mail"}).integer, 1);
}

TEST_F(MultiLockKeys, ServeTheQueueOfEachKeyWhenTheyAreReleased) {
  lock.lock();
  Contender waiter(another());
  ASSERT_TRUE(is_queued(1));
  std::atomic<bool> has_log = false;
  Client other = another();
  std::jthread at_log([&] {
    const Lock log(other, "{job}log", long_lease);
    has_log = true;
  });
  ASSERT_TRUE(eventually([&] {
    return raw.command({"LLEN", "{job}log:redlatch:queue"}).integer == 1;
  }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(waiter.has_it());
  EXPECT_TRUE(eventually([&] { return has_log.load(); }));
  EXPECT_FALSE(raw.exists("{job}mail"));
  waiter.ends();
}

TEST_F(MultiLockKeys, ServeTheQueueOfEachKeyAtTheEndOfTheScope) {
  std::list<Contender> waiters;
  {
    const MultiLock held(client, {"{job}mail", "job"}, long_lease);
    waiters.emplace_back(another());
    ASSERT_TRUE(is_queued(1));
  }
  EXPECT_TRUE(waiters.front().has_it());
}

/// Of a lease that has expired.
TEST_F(MultiLockKeys, AreLeftToWhoeverWaitsForOneOfThem) {
  RawClient listener(server.socket());
  listener.command({"SUBSCRIBE", "redlatch:somebody"});
  const std::string waiter = "11111111-2222-4333-8444-555555555555";
  raw.command({"RPUSH", queue, "99999999999999 60000 redlatch:nobody 1" + waiter});
  raw.command({"RPUSH", queue, "99999999999999 60000 redlatch:somebody " + waiter});
  for (const bool fencing : {false, true}) {
    MultiLock some(client, {"{job}mail", "job"}, std::defer_lock, {.ttl = 60s, .fencing = fencing});
    EXPECT_FALSE(some.try_lock());
    EXPECT_EQ(raw.get("job"), waiter);
    EXPECT_FALSE(raw.exists("{job}mail"));
  }
  raw.command({"DEL", "job"});
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(MultiLockKeys, AreTakenWhereThoseWhoWaitedAreGone) {
  raw.command({"RPUSH", queue,
               "99999999999999 60000 redlatch:nobody "
               "11111111-2222-4333-8444-555555555555"});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(queued(), 0);
}

TEST_F(MultiLockKeys, AreWaitedForUntilTheLastIsFree) {
  Lock one(client, "{job}mail", long_lease);
  ContenderOf<Lock> other(another());
  ASSERT_TRUE(other.has_it());
  std::jthread waiter([&] { lock.lock(); });
  ASSERT_TRUE(eventually([&] { return client.metrics().contended == 1; }));
  one.unlock();
  EXPECT_FALSE(raw.exists("{job}mail"));
  other.ends();
  waiter.join();
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(MultiLockKeys, AreTakenOverFromAHolderWhoDied) {
  raw.command({"SET", "{job}mail", "a dead one", "PX", "300"});
  EXPECT_TRUE(lock.try_lock_for(60s));
}

TEST_F(MultiLockKeys, AreNotWaitedForForLongerThanToldNorBehindAStop) {
  const Lock one(client, "{job}log", long_lease);
  EXPECT_FALSE(lock.try_lock_for(30ms));
  std::jthread waiter([&](const std::stop_token& stop) { EXPECT_FALSE(lock.lock(stop)); });
  ASSERT_TRUE(eventually([&] { return client.metrics().contended == 2; }));
  waiter.request_stop();
  waiter.join();
  EXPECT_FALSE(has_any({"job", "{job}mail"}));
}

/// Their releases and the acquisitions go through different connections: 16 keys use all of them.
class MultiLockOfOneThread : public QueueTest {
 protected:
  static constexpr int rounds = 3000;

  static std::string other(int round) { return "{job}" + std::to_string(round % 16); }

  Client one{server.unix_url(), patient()};
};

TEST_F(MultiLockOfOneThread, AreFreeBehindAGuardOfOneOfThem) {
  int taken = 0;
  for (int i = 0; i < rounds; ++i) {
    { const Lock guard(one, other(i), long_lease); }
    MultiLock several(one, {"job", other(i)}, std::defer_lock, long_lease);
    if (several.try_lock()) ++taken;
    several.unlock();
  }
  EXPECT_EQ(taken, rounds);
}

TEST_F(MultiLockOfOneThread, AreEachFreeBehindAGuardOfAll) {
  int taken = 0;
  for (int i = 0; i < rounds; ++i) {
    { const MultiLock guard(one, {"job", other(i)}, long_lease); }
    Lock lock(one, other(i), std::defer_lock, long_lease);
    if (lock.try_lock()) ++taken;
    lock.unlock();
  }
  EXPECT_EQ(taken, rounds);
}

TEST_F(MultiLockOfOneThread, AreFreeBehindAGuardOfThemInAnotherOrder) {
  int taken = 0;
  for (int i = 0; i < rounds; ++i) {
    { const MultiLock guard(one, {"job", other(i)}, long_lease); }
    MultiLock several(one, {other(i), "job"}, std::defer_lock, long_lease);
    if (several.try_lock()) ++taken;
    several.unlock();
  }
  EXPECT_EQ(taken, rounds);
}

/// The release is refused, and retried behind what was sent after it.
TEST_F(MultiLockOfOneThread, AreFreeBehindAGuardWhoseScriptWasForgotten) {
  int taken = 0;
  for (int i = 0; i < 100; ++i) {
    {
      const Lock guard(one, "{job}mail", long_lease);
      raw.command({"SCRIPT", "FLUSH"});
    }
    {
      const MultiLock several(one, {"job", "{job}mail"}, std::try_to_lock, long_lease);
      if (several) ++taken;
      raw.command({"SCRIPT", "FLUSH"});
    }
    for (const char* key : {"job", "{job}mail"}) {
      if (Lock(one, key, std::try_to_lock, long_lease)) ++taken;
    }
  }
  EXPECT_EQ(taken, 300);
}

/// "first" and `second` are on connections of their own; what is said about "first" can be delayed.
class MultiLockOnTwoConnections : public ServerTest {
 protected:
  MultiLockOnTwoConnections() {
    Lock(delayed, "first", long_lease).unlock();
    do {
      second += "!";
      Lock(delayed, second, long_lease).unlock();
    } while (proxy.connections() == 1);
  }

  /// A key on the newest connection, which is not that of "first".
  std::string another_apart_from_first() {
    std::string key = "{first}third";
    for (;; key += "!") {
      const std::size_t connections = proxy.connections();
      const std::size_t passed = proxy.passed(Proxy::Direction::request);
      Lock(delayed, key, long_lease).unlock();
      if (proxy.connections() > connections) return key;
      if (proxy.passed(Proxy::Direction::request) > passed) return key;
    }
  }

  /// Whether the attempt succeeds once the release in front of it has come to the server.
  template <class L>
  bool succeeds_behind_the_release(L lock) {
    auto attempt = std::async(std::launch::async, [&] { return lock.try_lock(); });
    // An attempt that does not wait is answered in a moment; of one that waits there is no sign.
    const bool is_done =
        eventually([&] { return attempt.wait_for(0s) == std::future_status::ready; }, 200ms);
    EXPECT_FALSE(is_done) << "the release is not there yet";
    proxy.release();
    return attempt.get();
  }

  Proxy proxy{server.socket()};
  Client delayed{proxy.url(), patient()};
  std::string second = "{first}";
};

TEST_F(MultiLockOnTwoConnections, AreNotAskedForInFrontOfTheReleaseOfOneOfThem) {
  {
    const Lock guard(delayed, "first", long_lease);
    proxy.stall(1);
  }
  EXPECT_TRUE(succeeds_behind_the_release(
      MultiLock(delayed, {second, "first"}, std::defer_lock, long_lease)));
}

TEST_F(MultiLockOnTwoConnections, AreReleasedInFrontOfTheAcquisitionOfOneOfThem) {
  {
    const MultiLock guard(delayed, {"first", second}, long_lease);
    proxy.stall(1);
  }
  EXPECT_TRUE(succeeds_behind_the_release(Lock(delayed, second, std::defer_lock, long_lease)));
}

TEST_F(MultiLockOnTwoConnections, AreReleasedInFrontOfTheAcquisitionOfThemInAnotherOrder) {
  {
    const MultiLock guard(delayed, {"first", second}, long_lease);
    proxy.stall(1);
  }
  EXPECT_TRUE(succeeds_behind_the_release(
      MultiLock(delayed, {second, "first"}, std::defer_lock, long_lease)));
}

/// One that waits for the release must not make the others forget that there is one.
TEST_F(MultiLockOnTwoConnections, AreReleasedInFrontOfTheAcquisitionsOfTwoOfThem) {
  const std::string third = another_apart_from_first();
  {
    const MultiLock guard(delayed, {"first", second, third}, long_lease);
    proxy.stall(1);
  }
  Lock lock(delayed, second, std::defer_lock, long_lease);
  auto before = std::async(std::launch::async, [&] { return lock.try_lock(); });
  EXPECT_FALSE(eventually([&] { return before.wait_for(0s) == std::future_status::ready; }, 200ms));
  EXPECT_TRUE(succeeds_behind_the_release(Lock(delayed, third, std::defer_lock, long_lease)));
  EXPECT_TRUE(before.get());
}

/// Those of one key do not wait for the release of others.
TEST_F(MultiLockOnTwoConnections, KeepNobodyWaitingForOtherKeys) {
  {
    const MultiLock guard(delayed, {"first", "{first}another"}, long_lease);
    proxy.stall(1);
  }
  EXPECT_TRUE(Lock(delayed, second, std::try_to_lock, long_lease));
  proxy.release();
}

/// Eight processes want them in each order, and lose no update.
TEST_F(MultiLockKeys, InOppositeOrdersDoNotBlockEachOther) {
  constexpr int rounds = 20;
  const SharedMemory<std::atomic<int>> number;
  std::list<Child> processes;
  for (int i = 0; i < 8; ++i) {
    processes.emplace_back([&, i] {
      const std::array<Keys, 4> orders{
          {{"a", "{a}b", "{a}c"}, {"{a}c", "{a}b", "a"}, {"{a}b", "{a}d"}, {"{a}d", "{a}b"}}};
      Client own(server.url(), patient());
      for (int j = 0; j < rounds; ++j) {
        const MultiLock held(own, orders.at(static_cast<std::size_t>(i) % 4), 60s, long_lease);
        if (!held) return;  // and the number is too small
        const int seen = *number;
        std::this_thread::yield();
        *number = seen + 1;
      }
    });
  }
  for (Child& process : processes) EXPECT_EQ(process.wait(), 0);
  EXPECT_EQ(*number, 8 * rounds);
}

TEST_F(MultiLockKeys, DrawANumberAboveThoseOfEachKey) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  constexpr std::uint64_t far_ahead = 4'000'000'000'000'000;  // is exact in Lua
  set_counter("{job}mail", std::to_string(far_ahead));
  MultiLock held(client, {"job", "{job}mail"}, fenced);
  EXPECT_EQ(held.fencing_token(), far_ahead + 1);
  held.unlock();
  EXPECT_EQ(Lock(client, "job", fenced).fencing_token(), far_ahead + 2);
  held.lock();
  EXPECT_EQ(held.fencing_token(), far_ahead + 3);
  held.unlock();
  EXPECT_EQ(Lock(client, "{job}mail", fenced).fencing_token(), far_ahead + 4);
}

TEST_F(MultiLockKeys, AreNotTakenWithoutANumber) {
  raw.command({"LPUSH", "{job}mail:redlatch:fence", "x"});
  const Error error = thrown_by([&] {
    MultiLock(client, {"job", "{job}mail"}, {.ttl = 60s, .fencing = true}).owns_lock();
  });
  EXPECT_EQ(error.code(), Errc::wrong_type);
  EXPECT_FALSE(has_any({"job", "{job}mail"}));
}

TEST_F(MultiLockKeys, NameTheOneThatIsNoLock) {
  raw.command({"LPUSH", "{job}mail", "letter"});
  const Lock before(client, "job", long_lease);
  const Error error = thrown_by([&] { lock.lock(); });
  EXPECT_EQ(error.code(), Errc::wrong_type);
  EXPECT_NE(std::string(error.what()).find("mail is a list"), std::string::npos) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_FALSE(raw.exists("{job}log"));
}

TEST_F(MultiLockKeys, MayHaveAnyBytesInTheirNames) {
  const Keys keys{std::string("3:a\0\r\n", 6), "a b", "\xff{x}", "12:", "{", "}{"};
  MultiLock held(client, keys, long_lease);
  for (const std::string& key : keys) EXPECT_EQ(raw.get(key), held.token());
  EXPECT_EQ(held.unlock(), Unlock::released);
  EXPECT_FALSE(has_any(keys));
}

TEST_F(MultiLockKeys, MayBeMany) {
  Keys keys;
  for (int i = 0; i < 256; ++i) keys.push_back("{key}" + std::to_string(i));
  MultiLock held(client, keys, {.ttl = 60s, .fencing = true});
  EXPECT_TRUE(held.verify());
  EXPECT_TRUE(held.extend());
  EXPECT_EQ(held.unlock(), Unlock::released);
  EXPECT_FALSE(has_any(keys));
}

TEST_F(MultiLockKeys, NeedTheseRights) {
  const Keys needed{"+eval", "+evalsha", "+type", "+set", "+get", "+pexpire"};
  const std::string url = "redis://worker:secret@127.0.0.1:" + std::to_string(server.port());
  const auto allow_all_but = [&](const std::string& missed) {
    Keys words{"ACL", "SETUSER", "worker", "reset", "on", ">secret", "~*", "+del"};
    for (const std::string& right : needed) {
      if (right != missed) words.push_back(right);
    }
    ASSERT_EQ(raw.command(words).text, "OK");
  };
  allow_all_but({});
  Client worker(url, patient());
  MultiLock held(worker, {"job", "{job}mail"}, std::defer_lock, long_lease);
  const auto hold = [&] {
    held.lock();
    EXPECT_TRUE(held.extend());
    EXPECT_TRUE(held.verify());
    EXPECT_EQ(held.unlock(), Unlock::released);
  };
  hold();
  for (const std::string& right : needed) {
    allow_all_but(right);
    raw.command({"SCRIPT", "FLUSH"});
    EXPECT_EQ(error_of(hold), Errc::not_permitted) << right;
    allow_all_but({});
    if (held) held.unlock();
    EXPECT_FALSE(has_any({"job", "{job}mail"})) << right;
  }
  held.lock();
  raw.command({"ACL", "SETUSER", "worker", "-del"});
  EXPECT_EQ(held.unlock(), Unlock::unknown);
  allow_all_but({});
  EXPECT_TRUE(eventually([&] { return !has_any({"job", "{job}mail"}); }, 30s));
}

TEST(MultiLockInACluster, HaveToBeInOneSlot) {
  const ReservedPort bus;  // by itself it would be the port + 10,000, which may be none
  const RedisServer server({"--cluster-enabled", "yes", "--cluster-node-timeout", "500",
                            "--cluster-port", std::to_string(bus.number())});
  RawClient raw(server.socket());
  Keys all_slots{"CLUSTER", "ADDSLOTS"};
  for (int slot = 0; slot < 16'384; ++slot) all_slots.push_back(std::to_string(slot));
  ASSERT_EQ(raw.command(all_slots).text, "OK");
  ASSERT_TRUE(eventually([&] { return raw.command({"SET", "ready", "yes"}).text == "OK"; }));
  Client client(server.url(), patient());
  const Error error = thrown_by([&] { MultiLock(client, {"a", "b"}).owns_lock(); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("the same hash tag"), std::string::npos);
  EXPECT_TRUE(MultiLock(client, {"{job}a", "{job}b"}).owns_lock());
  EXPECT_TRUE(Lock(client, "a", {.fencing = true}).owns_lock());
}

}  // namespace multi_test
}  // namespace redlatch::test
