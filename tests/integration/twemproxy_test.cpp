// Through twemproxy, which closes a connection at CLIENT, COMMAND, INFO, SCRIPT, SELECT, SUBSCRIBE,
// WATCH and a script without keys.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <type_traits>

#include "family.hpp"
#include "nutcracker.hpp"

namespace redlatch::test {
namespace twemproxy_test {

class LockThroughTwemproxy : public testing::Test {
 protected:
  Client another() const { return Client(proxy.url(), patient()); }

  RedisServer server{};
  Nutcracker proxy{server};
  RawClient raw{server.socket()};
  Client client = another();
};

TEST_F(LockThroughTwemproxy, LetsALockLive) {
  live_one_life(client, raw, {.ttl = 60s, .label = "me"});
}

TEST_F(LockThroughTwemproxy, LetsAGuardGiveItsKeyUp) {
  { const Lock guard(client, "job", long_lease); }
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(LockThroughTwemproxy, LetsRenewalsThrough) {
  Lock lock(client, "job", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= 2; }));
  EXPECT_EQ(client.metrics().lost, 0U);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockThroughTwemproxy, LetsAStrangersKeyAlone) {
  Lock lock(client, "job", long_lease);
  raw.command({"SET", "job", "a stranger"});
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(LockThroughTwemproxy, LetsAPingThrough) { client.ping(); }

TEST_F(LockThroughTwemproxy, LetsThreadsOfOneClientPassALockOn) {
  std::optional<Lock> holder(std::in_place, client, "job", long_lease);
  std::jthread waiter([&] { const Lock lock(client, "job", long_lease); });
  ASSERT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
  holder.reset();
  waiter.join();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(LockThroughTwemproxy, NeedsNoNameAndNoRunId) {
  ClientOptions named = patient();
  named.client_name = "named";
  Client nameless(proxy.url(), named);
  EXPECT_EQ(Lock(nameless, "job", long_lease).unlock(), Unlock::released);
  Quorum nodes({proxy.url()}, {.client = patient(), .server_timeout = 20s});
  Redlock lock(nodes, "job", long_lease);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

template <class L>
class EveryLockThroughTwemproxy : public LockThroughTwemproxy {};
using Members = testing::Types<Lock, ReadLock, WriteLock, RecursiveLock, Permit, MultiLock>;
TYPED_TEST_SUITE(EveryLockThroughTwemproxy, Members, );

TYPED_TEST(EveryLockThroughTwemproxy, EachClassLivesAndIsWaitedFor) {
  auto lock = deferred<TypeParam>(this->client);
  lock.lock();
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  Client other = this->another();
  std::jthread waiter([&] {
    auto own = deferred<TypeParam>(other);
    own.lock();
    EXPECT_TRUE(own.extend());
    EXPECT_EQ(own.unlock(), Unlock::released);
  });
  constexpr bool shares = std::is_same_v<TypeParam, ReadLock>;
  EXPECT_TRUE(shares || eventually([&] { return other.metrics().contended == 1; }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  waiter.join();
  EXPECT_TRUE(eventually([&] { return this->raw.command({"DBSIZE"}).integer == 0; }));
}

TEST_F(LockThroughTwemproxy, LetsFencingTokensThrough) {
  const LockOptions numbered{.ttl = 60s, .fencing = true};
  Lock lock(client, "job", numbered);
  const std::uint64_t first = lock.fencing_token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  WriteLock next(client, "job", numbered);
  EXPECT_GT(next.fencing_token(), first);
  EXPECT_EQ(next.unlock(), Unlock::released);
}

TEST_F(LockThroughTwemproxy, LetsAFairLockTryAndSaysThatItCannotWait) {
  FairLock lock(client, "job", std::try_to_lock, long_lease);
  EXPECT_TRUE(lock);
  EXPECT_TRUE(lock.extend());
  FairLock waiter(client, "job", std::defer_lock, long_lease);
  EXPECT_FALSE(waiter.try_lock());
  EXPECT_EQ(error_of([&] { waiter.lock(); }), Errc::not_permitted);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockThroughTwemproxy, IsNamedWithTheCommandAtWhichItClosed) {
  Client third(proxy.url() + "?db=3", patient());
  const Error error = thrown_by([&] { const Lock lock(third, "job"); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("SELECT"), std::string::npos) << error.what();
}

}  // namespace twemproxy_test
}  // namespace redlatch::test
