// RecursiveLock: an owner holds it as often as it likes.

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <redlatch/protocol/recursive.hpp>

#include "family.hpp"

namespace redlatch::test {
namespace {

class RecursiveLocks : public FamilyTest {
 protected:
  template <class Action>
  static void elsewhere(Action action) {
    std::jthread(action).join();
  }
  std::unique_ptr<ContenderFor<RecursiveLock>> another_owner() {
    return std::make_unique<ContenderFor<RecursiveLock>>(
        another(), [](Client& own) { return Recursive::make(own); });
  }

  Client other = another();
};

TEST_F(RecursiveLocks, AreHeldByAThreadAsOftenAsItLikes) {
  RecursiveLock outer(client, "job", long_lease);
  RecursiveLock inner(other, "job", std::try_to_lock, long_lease);
  RecursiveLock third(client, "job", std::defer_lock, long_lease);
  third.lock();
  EXPECT_TRUE(outer && inner && third);
  EXPECT_EQ(outer.hold_count(), 3);
  elsewhere([&] {
    RecursiveLock stranger(client, "job", std::try_to_lock, long_lease);
    EXPECT_FALSE(stranger);
    EXPECT_EQ(stranger.hold_count(), 0);
  });
}

TEST_F(RecursiveLocks, HoldOnceEach) {
  RecursiveLock lock(client, "job", long_lease);
  EXPECT_EQ(error_of([&] { lock.lock(); }), std::errc::resource_deadlock_would_occur);
}

TEST_F(RecursiveLocks, AreFreeAfterAsManyUnlocksAsLocks) {
  RecursiveLock outer(client, "job", long_lease);
  RecursiveLock inner(client, "job", long_lease);
  const auto waiter = another_owner();
  ASSERT_TRUE(is_queued(1));
  EXPECT_EQ(outer.unlock(), Unlock::released);
  EXPECT_EQ(inner.hold_count(), 1);
  EXPECT_FALSE(Recursive::make(other).try_lock());
  EXPECT_FALSE(waiter->held);
  EXPECT_EQ(inner.unlock(), Unlock::released);
  EXPECT_TRUE(waiter->has_it());
}

TEST_F(RecursiveLocks, AreHeldByAnOwnerInAnyThreadAndProcess) {
  RecursiveLock mine(client, "job", Owner{"me"}, long_lease);
  elsewhere([&] {
    RecursiveLock also_mine(other, "job", Owner{"me"}, std::try_to_lock, long_lease);
    EXPECT_TRUE(also_mine);
    EXPECT_EQ(also_mine.hold_count(), 2);
  });
  EXPECT_FALSE(RecursiveLock(other, "job", Owner{"you"}, std::try_to_lock, long_lease));
  EXPECT_FALSE(RecursiveLock(other, "job", Owner{"you"}, 20ms, long_lease));
  EXPECT_FALSE(RecursiveLock(other, "job", std::try_to_lock, long_lease))
      << "the thread is another";
}

TEST_F(RecursiveLocks, LetTheirOwnerOvertakeThoseWhoWait) {
  RecursiveLock outer(client, "job", Owner{"me"}, long_lease);
  const auto waiter = another_owner();
  ASSERT_TRUE(is_queued(1));
  RecursiveLock inner(other, "job", Owner{"me"}, std::try_to_lock, long_lease);
  RecursiveLock waited_for(other, "job", Owner{"me"}, long_lease);
  EXPECT_TRUE(inner && waited_for);
  EXPECT_FALSE(waiter->held);
}

TEST_F(RecursiveLocks, EndTogether) {
  RecursiveLock longer(client, "job", Owner{"me"}, {.ttl = 1min, .auto_renew = false});
  RecursiveLock shorter(client, "job", Owner{"me"}, {.ttl = 20ms, .auto_renew = false});
  const RawReply all = raw.command({"ZRANGE", "job", "0", "-1", "WITHSCORES"});
  ASSERT_EQ(all.elements.size(), 4U);
  EXPECT_EQ(all.elements[1].text, all.elements[3].text);
  raw.command({"PEXPIRE", "job", "1"});
  EXPECT_TRUE(eventually([&] { return Recursive::make(other).try_lock(); }));
}

TEST_F(RecursiveLocks, AreAllKeptUpByOneThatIsRenewed) {
  RecursiveLock renewed(client, "job", Owner{"me"}, {.ttl = 300ms});
  RecursiveLock left_alone(client, "job", Owner{"me"}, {.ttl = 300ms, .auto_renew = false});
  ASSERT_TRUE(eventually([&] { return client.metrics().renewed >= 6; }));
  EXPECT_EQ(renewed.hold_count(), 2);
  EXPECT_EQ(holders(), 2);
}

TEST_F(RecursiveLocks, AreNumbered) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  RecursiveLock outer(client, "job", fenced);
  RecursiveLock inner(client, "job", fenced);
  EXPECT_GT(inner.fencing_token(), outer.fencing_token());
}

TEST_F(RecursiveLocks, NeedAnOwnerWithAGoodName) {
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a\n"), std::string(257, 'x')}) {
    const Error error =
        thrown_by([&] { RecursiveLock(client, "job", Owner{name}, std::defer_lock); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("owner"), std::string::npos);
  }
}

TEST_F(RecursiveLocks, CannotCountWithoutAServer) {
  Client hasty(server.url(), less_patient());
  RecursiveLock lock(hasty, "job", long_lease);
  server.kill();
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.hold_count()); }), Errc::unreachable);
}

TEST_F(RecursiveLocks, UseScriptsByTheHashThatTheServerHas) {
  EXPECT_EQ(raw.command({"SCRIPT", "LOAD", std::string(protocol::count_script.text)}).text,
            protocol::count_script.sha1);
}

}  // namespace
}  // namespace redlatch::test
