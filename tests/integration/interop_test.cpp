#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "process.hpp"

namespace redlatch::test {
namespace interop_test {

/// A lock of redis-py on the key of ours, in a process of its own.
class LockInteropRedisPy : public ServerTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(other.ask("ready"), "True") << "/usr/bin/python3 has no redis module";
  }

  Process other{{"/usr/bin/python3", REDLATCH_REDIS_PY_LOCK, server.socket(), "job"}};
  Lock lock{client, "job", std::defer_lock, long_lease};
};

TEST_F(LockInteropRedisPy, IsTurnedAwayWhileWeHoldAndLetInAfterwards) {
  lock.lock();
  EXPECT_EQ(other.ask("acquire 50"), "False");
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(other.ask("acquire 50"), "True");
  EXPECT_EQ(raw.get("job"), other.ask("token"));
}

TEST_F(LockInteropRedisPy, TurnsUsAwayWhileItHoldsAndLetsUsInAfterwards) {
  ASSERT_EQ(other.ask("acquire 50"), "True");
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(50ms));
  EXPECT_EQ(other.ask("owned"), "True");
  EXPECT_EQ(other.ask("release"), "released");
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(LockInteropRedisPy, WaitsForOurRelease) {
  lock.lock();
  const auto before = raw.calls("set");
  other.write_line("wait 50");
  EXPECT_TRUE(eventually([&] { return raw.calls("set") > before; }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(other.read_line(), "True");
  EXPECT_EQ(other.ask("owned"), "True");
}

TEST_F(LockInteropRedisPy, IsWaitedForByUs) {
  ASSERT_EQ(other.ask("acquire 50"), "True");
  std::thread waiter([&] { lock.lock(); });
  EXPECT_TRUE(somebody_waits());
  EXPECT_EQ(other.ask("release"), "released");
  waiter.join();
  EXPECT_TRUE(lock.verify());
}

TEST_F(LockInteropRedisPy, DoesNotReleaseOurs) {
  ASSERT_EQ(other.ask("acquire 50"), "True");
  raw.command({"DEL", "job"});
  lock.lock();
  EXPECT_EQ(other.ask("release"), "LockNotOwnedError");
  EXPECT_EQ(raw.get("job"), lock.token());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockInteropRedisPy, IsNotReleasedByUs) {
  lock.lock();
  raw.command({"DEL", "job"});
  ASSERT_EQ(other.ask("acquire 50"), "True");
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(other.ask("owned"), "True");
  EXPECT_EQ(other.ask("release"), "released");
}

TEST_F(LockInteropRedisPy, DoesNotExtendOursNorWeIts) {
  ASSERT_EQ(other.ask("acquire 50"), "True");
  raw.command({"DEL", "job"});
  lock.lock();
  EXPECT_EQ(other.ask("extend 5000"), "LockNotOwnedError");
  EXPECT_LE(raw.pttl("job"), 60'000);
  raw.command({"DEL", "job"});
  ASSERT_EQ(other.ask("acquire 50"), "True");
  EXPECT_FALSE(lock.extend(5000s));
  EXPECT_LE(raw.pttl("job"), 50'000);
}

TEST_F(LockInteropRedisPy, MayLeaveALeaseThatEndsByItself) {
  ASSERT_EQ(other.ask("acquire 0.3"), "True");
  EXPECT_TRUE(lock.try_lock_for(30s));
  EXPECT_EQ(other.ask("owned"), "False");
  EXPECT_EQ(other.ask("release"), "LockNotOwnedError");
  EXPECT_TRUE(lock.verify());
}

}  // namespace interop_test
}  // namespace redlatch::test
