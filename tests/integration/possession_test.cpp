#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>

#include "fixture.hpp"

namespace redlatch::test {
namespace possession_test {

using LockPossession = ServerTest;

static_assert(!std::is_copy_constructible_v<Lock> && !std::is_copy_assignable_v<Lock>);
static_assert(std::is_nothrow_move_constructible_v<Lock>);
static_assert(std::is_nothrow_move_assignable_v<Lock>);
static_assert(std::is_nothrow_destructible_v<Lock>);

TEST_F(LockPossession, IsOneStringKeyWithExactlyTheTokenForAtMostTheTtl) {
  const Lock lock(client, "job:42", {.ttl = 5s});
  EXPECT_EQ(raw.command({"TYPE", "job:42"}).text, "string");
  EXPECT_EQ(raw.get("job:42"), lock.token());
  const auto pttl = raw.pttl("job:42");
  EXPECT_GT(pttl, 0);
  EXPECT_LE(pttl, 5000);
  EXPECT_EQ(raw.command({"DBSIZE"}).integer, 1);
}

TEST_F(LockPossession, OfAFreeKeyCostsOneSetAndOneScript) {
  { const Lock warm_up(client, "job"); }
  raw.command({"CONFIG", "RESETSTAT"});
  { const Lock lock(client, "job"); }
  EXPECT_EQ(raw.calls("set"), 1);
  EXPECT_EQ(raw.calls("evalsha"), 1);
  EXPECT_EQ(raw.calls("pttl") + raw.calls("type") + raw.calls("eval"), 0);
}

TEST_F(LockPossession, HasAFreshTokenWithEachLease) {
  Lock lock(client, "job");
  const std::string first = lock.token();
  lock.unlock();
  lock.lock();
  EXPECT_EQ(first.size(), 36U);
  EXPECT_EQ(lock.token().size(), 36U);
  EXPECT_NE(lock.token(), first);
}

TEST_F(LockPossession, TurnsAnotherLockAwayWithoutAnError) {
  const Lock holder(client, "job");
  Lock other(client, "job", std::defer_lock);
  EXPECT_FALSE(other.try_lock());
  EXPECT_FALSE(other.owns_lock());
  EXPECT_EQ(other.token(), "");
  EXPECT_EQ(raw.get("job"), holder.token());
}

TEST_F(LockPossession, OfOneKeyIsNoneOfAnother) {
  const Lock one(client, "job:1", std::try_to_lock);
  const Lock other(client, "job:2", std::try_to_lock);
  EXPECT_TRUE(one);
  EXPECT_TRUE(other);
}

TEST_F(LockPossession, IsAskedForOnceByTheTryToLockConstructor) {
  const Lock holder(client, "job", std::try_to_lock);
  const Lock other(client, "job", std::try_to_lock);
  EXPECT_TRUE(holder.owns_lock());
  EXPECT_FALSE(other.owns_lock());
}

TEST_F(LockPossession, IsWaitedForByTheConstructorWithADuration) {
  const Lock holder(client, "job", 1s);
  EXPECT_TRUE(holder.owns_lock());
  const auto time = duration_of([&] {
    const Lock other(client, "job", 100ms);
    EXPECT_FALSE(other.owns_lock());
  });
  EXPECT_GE(time, 100ms);
}

TEST_F(LockPossession, IsNotAskedForByTheDeferLockConstructor) {
  const Lock lock(client, "job", std::defer_lock);
  EXPECT_FALSE(lock);
  EXPECT_EQ(lock.key(), "job");
  EXPECT_EQ(raw.calls("set"), 0);
}

TEST_F(LockPossession, HeldAlreadyIsADeadlockToAskForAgain) {
  Lock lock(client, "job");
  const auto deadlock = std::make_error_code(std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock()); }), deadlock);
  EXPECT_EQ(error_of([&] { lock.lock(); }), deadlock);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock_for(1s)); }), deadlock);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockPossession, EndsWithUnlock) {
  Lock lock(client, "job");
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.token(), "");
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockPossession, CanBeGivenUpByAnotherThread) {
  Lock lock(client, "job");
  Unlock answer = Unlock::unknown;
  std::thread([&] { answer = lock.unlock(); }).join();
  EXPECT_EQ(answer, Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockPossession, EndsWithTheScopeAlsoWhenItIsLeftByAnException) {
  try {
    const Lock lock(client, "job", long_lease);
    ASSERT_TRUE(raw.exists("job"));
    throw std::runtime_error("work failed");
  } catch (const std::runtime_error&) {
    EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  }
}

TEST_F(LockPossession, NotHeldIsLostWhenUnlocked) {
  Lock lock(client, "job", std::defer_lock);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  lock.lock();
  lock.unlock();
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

TEST_F(LockPossession, MovesWithTheObject) {
  Lock from(client, "job");
  const std::string token = from.token();
  Lock to(std::move(from));
  EXPECT_FALSE(from.owns_lock());  // NOLINT(bugprone-use-after-move): what a move leaves is tested
  EXPECT_TRUE(to.owns_lock());
  EXPECT_EQ(to.token(), token);
  EXPECT_EQ(to.key(), "job");
  EXPECT_EQ(to.unlock(), Unlock::released);
}

TEST_F(LockPossession, IsGivenUpWhenAnotherLockIsMovedOverIt) {
  Lock target(client, "job:1", long_lease);
  target = Lock(client, "job:2");
  EXPECT_FALSE(raw.exists("job:1"));
  EXPECT_TRUE(target.owns_lock());
  EXPECT_EQ(target.key(), "job:2");
  EXPECT_EQ(raw.get("job:2"), target.token());
}

TEST_F(LockPossession, SurvivesBeingMovedOntoItself) {
  Lock lock(client, "job");
  Lock& same = lock;
  lock = std::move(same);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockPossession, CannotBeAskedForByALockThatWasMovedFrom) {
  Lock from(client, "job");
  const Lock to(std::move(from));
  EXPECT_EQ(from.unlock(), Unlock::lost);  // NOLINT(bugprone-use-after-move): as above
  EXPECT_EQ(error_of([&] { from.lock(); }),
            std::make_error_code(std::errc::operation_not_permitted));
  EXPECT_TRUE(to.owns_lock());
  EXPECT_EQ(raw.get("job"), to.token());
}

TEST_F(LockPossession, MovesFromOneClientsLockToAnothers) {
  Client other(server.unix_url(), patient());
  Lock lock(client, "job");
  lock = Lock(other, "job:2");
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.command({"DBSIZE"}).integer, 0);
}

}  // namespace possession_test
}  // namespace redlatch::test
