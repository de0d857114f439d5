#include <chrono>
#include <string>

#include "fixture.hpp"

namespace redlatch::test {
namespace extending_test {

using LockExtending = ServerTest;
using LockVerifying = ServerTest;
using LockValidity = ServerTest;

TEST_F(LockExtending, BringsBackTheFullTtl) {
  Lock lock(client, "job", long_lease);
  raw.command({"PEXPIRE", "job", "20000"});
  EXPECT_TRUE(lock.extend());
  EXPECT_GT(raw.pttl("job"), 20000);
  EXPECT_LE(raw.pttl("job"), 60000);
  EXPECT_EQ(raw.get("job"), lock.token());
}

TEST_F(LockExtending, TakesALongerTtl) {
  Lock lock(client, "job", {.ttl = 5s, .auto_renew = false});
  EXPECT_TRUE(lock.extend(60s));
  EXPECT_GT(raw.pttl("job"), 5000);
  EXPECT_GT(lock.remaining(), 5s);
  EXPECT_LE(lock.remaining(), 60s);
}

TEST_F(LockExtending, TakesAShorterTtl) {
  Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.extend(20s));
  EXPECT_LE(raw.pttl("job"), 20000);
  EXPECT_LE(lock.remaining(), 20s);
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(LockExtending, KeepsALockBeyondItsFirstLease) {
  Lock lock(client, "job", {.ttl = 1s, .auto_renew = false});
  EXPECT_TRUE(lock.extend(60s));
  EXPECT_FALSE(eventually([&] { return !lock.owns_lock() || !lock.verify(); }, 1s));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockExtending, RefusesATtlThatCannotWorkAndStaysHeld) {
  Lock lock(client, "job");
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend(9ms)); }), Errc::invalid_argument);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend(-1ms)); }), Errc::invalid_argument);
  EXPECT_TRUE(lock.verify());
}

TEST_F(LockExtending, OfALockThatIsNotHeldIsFalseAndAsksNobody) {
  Lock lock(client, "job", std::defer_lock);
  EXPECT_FALSE(lock.extend());
  lock.lock();
  lock.unlock();
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(raw.calls("evalsha"), 0);
}

TEST_F(LockVerifying, IsTrueWhileHeldAndCostsOneCommand) {
  Lock lock(client, "job");
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(raw.calls("getrange"), 1);
  EXPECT_EQ(raw.calls("evalsha") + raw.calls("set"), 0);
}

TEST_F(LockVerifying, ALockThatIsNotHeldIsFalseAndAsksNobody) {
  Lock lock(client, "job", std::defer_lock);
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(raw.calls("getrange"), 0);
}

TEST_F(LockValidity, EndsNoLaterThanTheKey) {
  Lock lock(client, "job", {.ttl = 5s, .auto_renew = false});
  const auto key_lives = [&] { return std::chrono::milliseconds(raw.pttl("job") + 1); };
  auto life = key_lives();
  EXPECT_LE(lock.remaining(), life);
  EXPECT_LE(lock.expires_at(), std::chrono::steady_clock::now() + life);
  ASSERT_TRUE(lock.extend(7s));
  life = key_lives();
  EXPECT_LE(lock.remaining(), life);
  EXPECT_LE(lock.expires_at(), std::chrono::steady_clock::now() + life);
}

TEST_F(LockValidity, IsTheTtlLessAMarginForDrift) {
  const auto before = std::chrono::steady_clock::now();
  const Lock lock(client, "job", {.ttl = 10s, .auto_renew = false});
  const auto after = std::chrono::steady_clock::now();
  constexpr auto margin = 100ms + 2ms;
  EXPECT_GE(lock.expires_at(), before + 5s);
  EXPECT_LE(lock.expires_at(), after + 10s - margin);
  EXPECT_LE(lock.remaining(), 10s - margin);
  EXPECT_GT(lock.remaining(), 5s);
}

TEST_F(LockValidity, IsNothingWhenNotHeld) {
  Lock lock(client, "job", std::defer_lock);
  const auto says_nothing = [&] {
    return lock.expires_at() == std::chrono::steady_clock::time_point{} &&
           lock.remaining() == 0ms && lock.token().empty();
  };
  EXPECT_TRUE(says_nothing());
  lock.lock();
  EXPECT_FALSE(says_nothing());
  lock.unlock();
  EXPECT_TRUE(says_nothing());
}

TEST_F(LockValidity, IsOverByTheTimeTheKeyIsGone) {
  const Lock lock =
      in_time([&] { return Lock(client, "job", {.ttl = 200ms, .auto_renew = false}); });
  ASSERT_TRUE(eventually([&] { return !raw.exists("job"); }));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.remaining(), 0ms);
  EXPECT_EQ(lock.expires_at(), std::chrono::steady_clock::time_point{});
  EXPECT_EQ(lock.token(), "");
}

TEST_F(LockValidity, CanBeLookedAtWithoutTheServer) {
  const Lock lock(client, "job", long_lease);
  server.kill();
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_GT(lock.remaining(), 0ms);
  EXPECT_FALSE(lock.token().empty());
  server.start();
}

}  // namespace extending_test
}  // namespace redlatch::test
