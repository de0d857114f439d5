#include <string>

#include "fixture.hpp"

namespace redlatch::test {
namespace losing_test {

/// A lock that is held, and strangers who meddle with its key.
class LockLosing : public ServerTest {
 protected:
  void take_over() { raw.command({"SET", "job", "a stranger", "PX", "50000"}); }
  void replace_by_a_list() {
    raw.command({"DEL", "job"});
    raw.command({"LPUSH", "job", "work"});
  }

  Lock lock{client, "job", long_lease};
  const std::string token = lock.token();
};

TEST_F(LockLosing, IsSeenByVerifyOnceTheKeyWasDeleted) {
  raw.command({"DEL", "job"});
  EXPECT_TRUE(lock.owns_lock()) << "nobody has asked yet";
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.token(), "");
  EXPECT_EQ(lock.remaining(), 0ms);
}

TEST_F(LockLosing, IsSeenByVerifyOnceTheKeyWasTakenOver) {
  take_over();
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.owns_lock());
}

TEST_F(LockLosing, IsSeenByExtendOnceTheKeyWasDeletedAndMakesNoKey) {
  raw.command({"DEL", "job"});
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockLosing, IsSeenByExtendOnceTheKeyWasTakenOverAndLeavesTheStrangersLease) {
  take_over();
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(raw.get("job"), "a stranger");
  EXPECT_LE(raw.pttl("job"), 50000);
}

TEST_F(LockLosing, IsReportedByUnlockWhenTheKeyWasDeleted) {
  raw.command({"DEL", "job"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

TEST_F(LockLosing, IsReportedByUnlockWhenTheKeyWasTakenOverAndTheStrangerStays) {
  take_over();
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(LockLosing, LetsTheDestructorLeaveTheStrangerAlone) {
  take_over();
  { const Lock gone(std::move(lock)); }
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(LockLosing, ToAKeyOfAnotherKindIsNoError) {
  replace_by_a_list();
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.command({"LLEN", "job"}).integer, 1);
}

TEST_F(LockLosing, ToAKeyOfAnotherKindIsSeenByVerify) {
  replace_by_a_list();
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.owns_lock());
}

TEST_F(LockLosing, ToAKeyOfAnotherKindIsSeenByExtend) {
  replace_by_a_list();
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(raw.pttl("job"), -1);
}

TEST_F(LockLosing, StillSendsTheReleaseAtUnlock) {
  raw.command({"DEL", "job"});
  ASSERT_FALSE(lock.verify());
  raw.command({"SET", "job", token});  // a late command of ours, say
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockLosing, LetsGoOfTheOldLeaseBeforeItStartsAfresh) {
  raw.command({"DEL", "job"});
  ASSERT_FALSE(lock.verify());
  raw.command({"SET", "job", token});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_NE(lock.token(), token);
  EXPECT_EQ(raw.get("job"), lock.token());
}

TEST_F(LockLosing, OneCanBeAskedForAgain) {
  raw.command({"DEL", "job"});
  ASSERT_FALSE(lock.extend());
  lock.lock();
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// Locks whose lease ends by itself.
using LockExpiring = ServerTest;

TEST_F(LockExpiring, BeforeUnlockIsLostAndStillSendsTheRelease) {
  Lock lock(client, "job", {.ttl = 1s, .auto_renew = false});
  const std::string token = lock.token();
  raw.command({"PERSIST", "job"});
  ASSERT_TRUE(eventually([&] { return !lock.owns_lock(); }));
  EXPECT_EQ(raw.get("job"), token);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockExpiring, LeavesNothingToExtendOrVerify) {
  Lock lock = in_time([&] { return Lock(client, "job", {.ttl = 100ms, .auto_renew = false}); });
  ASSERT_TRUE(eventually([&] { return !lock.owns_lock(); }));
  raw.command({"SET", "job", "a stranger"});
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(raw.get("job"), "a stranger");
  EXPECT_EQ(raw.pttl("job"), -1);
}

TEST_F(LockExpiring, LetsTheNextOneIn) {
  Lock lock = in_time([&] { return Lock(client, "job", {.ttl = 100ms, .auto_renew = false}); });
  Lock next(client, "job", std::defer_lock, long_lease);
  EXPECT_TRUE(next.try_lock_for(30s));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_TRUE(next.verify());
}

TEST_F(LockExpiring, IsNoDeadlockToAskAgainAfter) {
  Lock lock = in_time([&] { return Lock(client, "job", {.ttl = 100ms, .auto_renew = false}); });
  ASSERT_TRUE(eventually([&] { return !lock.owns_lock(); }));
  EXPECT_TRUE(in_time([&] { return lock.try_lock_for(30s); }));
}

}  // namespace losing_test
}  // namespace redlatch::test
