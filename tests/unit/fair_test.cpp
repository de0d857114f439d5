#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include <redlatch/protocol/fair.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace fair_test {

using TestFair = TestLockOf<protocol::Fair>;
using Lines = std::vector<std::string>;

TestFair fair_on(const Fake& executor, LockOptions options = {}) {
  protocol::Fair protocol("job", options.fencing);
  return TestFair(executor, std::move(protocol), std::move(options));
}

Fake fake_with_queue() {
  const Fake executor = fake();
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  return executor;
}

TEST(FairProtocol, JoinsTheQueueBeforeAnythingElse) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(1)));
  TestFair lock = fair_on(executor);
  lock.lock();
  EXPECT_EQ(executor->said(), (Lines{"STAND job " + lock.token() + " 10000 redlatch:me 3000 new"}));
  EXPECT_TRUE(executor->pauses.empty());
}

TEST(FairProtocol, JoinsTheQueueForABoundedWaitAsWell) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(2)));
  executor->will(says(integer(2)));
  TestFair lock = fair_on(executor);
  EXPECT_FALSE(lock.try_lock_for(100ms));
  EXPECT_TRUE(executor->said().front().starts_with("STAND job "));
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("LEAVE job "));
}

TEST(FairProtocol, TellsContentionOnceItHasToWait) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(2)));
  executor->will(says(integer(4)));
  TestFair lock = fair_on(executor);
  lock.lock();
  ASSERT_EQ(executor->events.size(), 2U);
  EXPECT_EQ(executor->events[0].kind, EventKind::contended);
  EXPECT_EQ(executor->events[1].kind, EventKind::acquired);
}

TEST(FairProtocol, TellsNoContentionWhenItIsServedAtOnce) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(1)));
  TestFair lock = fair_on(executor);
  lock.lock();
  ASSERT_EQ(executor->events.size(), 1U);
  EXPECT_EQ(executor->events[0].kind, EventKind::acquired);
}

TEST(FairProtocol, TriesOnceByAScriptThatGivesWay) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(1)));
  TestFair lock = fair_on(executor);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(executor->said(), (Lines{"ACQUIRE_FAIR job " + lock.token() + " 10000"}));
}

TEST(FairProtocol, TriesOnceWithoutWaiting) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(0)));
  TestFair lock = fair_on(executor);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(executor->said().size(), 1U);
  EXPECT_TRUE(executor->pauses.empty());
}

TEST(FairProtocol, DrawsANumberInTheSameStep) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(99)));
  TestFair lock = fair_on(executor, {.fencing = true});
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(executor->said().front(), "ACQUIRE_FAIR job " + lock.token() + " 10000 86400000");
  EXPECT_EQ(lock.fencing_token(), 99U);
}

TEST(FairProtocol, IsNotPassedOnInsideTheProcess) {
  const Fake executor = fake_with_queue();
  executor->will(says(integer(1)));
  executor->passes_on = true;
  TestFair lock = fair_on(executor);
  lock.lock();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(executor->said().back().starts_with("RELEASE job "));
}

TEST(FairProtocol, ThrowsWhereTheQueueIsRefused) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")));
  executor->address = {.is_refused = true};
  TestFair lock = fair_on(executor);
  const Error error = error_of([&] {
    lock.lock();
    return true;
  });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_NE(std::string(error.what()).find("the rights that docs/permissions.md lists"),
            std::string::npos);
  EXPECT_EQ(executor->waiting, 0);
}

TEST(FairProtocol, ThrowsWhereTheQueueIsRefusedToABoundedWaitAsWell) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")));
  executor->address = {.is_refused = true};
  TestFair lock = fair_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(1min); }).code(), Errc::not_permitted);
}

TEST(FairProtocol, RidesOutClosingsAtSubscribe) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")));
  executor->address = {.is_closed = true};
  executor->on_pause = [server = executor.get()] {
    if (server->pauses.size() == 20) server->address = {.channel = "redlatch:me"};
  };
  executor->will(says(integer(1)));
  TestFair lock = fair_on(executor);
  EXPECT_TRUE(lock.try_lock_for(1min));
}

TEST(FairProtocol, NamesSubscribeWhereABoundedWaitEndsAfterClosingsAtIt) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")),
                             says(integer(0), integer(500), status("string")));
  executor->address = {.is_closed = true};
  TestFair lock = fair_on(executor);
  const Error error = error_of([&] { return lock.try_lock_for(1s); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(std::string(error.what()).find("SUBSCRIBE"), std::string::npos) << error.what();
  EXPECT_EQ(executor->waiting, 0);
}

TEST(FairProtocol, ThrowsWhereTheConnectionIsClosedAtSubscribeAgainAndAgain) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")));
  executor->address = {.is_refused = true, .is_closed = true};
  TestFair lock = fair_on(executor);
  const Error error = error_of([&] {
    lock.lock();
    return true;
  });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_NE(std::string(error.what()).find("SUBSCRIBE"), std::string::npos) << error.what();
}

/// It asks for the lock itself once, and no more, which would be unfair.
TEST(FairProtocol, WaitsForTheQueueWhileItIsOutOfReach) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")));
  executor->on_pause = [server = executor.get()] {
    if (server->pauses.size() == 20) server->address = {.channel = "redlatch:me"};
  };
  executor->will(says(integer(1)));
  TestFair lock = fair_on(executor);
  lock.lock();
  ASSERT_EQ(executor->calls.size(), 2U);
  EXPECT_TRUE(executor->calls[0].commands[0].starts_with("ACQUIRE_FAIR job "));
  EXPECT_TRUE(executor->calls[1].commands[0].starts_with("STAND job "));
  EXPECT_GE(executor->pauses.size(), 20U);
}

TEST(FairProtocol, AsksOnceMoreAtTheEndOfItsTimeWhileTheQueueIsOutOfReach) {
  const Fake executor = fake(says(integer(0), integer(500), status("string")),
                             says(integer(1), integer(500), status("string")));
  TestFair lock = fair_on(executor);
  EXPECT_TRUE(lock.try_lock_for(1s));
  EXPECT_EQ(executor->said().back().substr(0, 4), "PTTL") << "two attempts, no more";
  EXPECT_EQ(executor->calls.size(), 2U);
}

TEST(FairProtocol, ThrowsTheFirstErrorOfAServerThatIsAway) {
  const Fake executor = fake(away());
  TestFair lock = fair_on(executor);
  EXPECT_EQ(error_of([&] {
              lock.lock();
              return true;
            }).code(),
            Errc::unreachable);
}

TEST(FairProtocol, NeedsScripts) {
  const Fake executor = fake();
  executor->runs_scripts = false;
  EXPECT_EQ(error_of([&] { return fair_on(executor).owns_lock(); }).code(), Errc::unsupported);
}

}  // namespace fair_test
}  // namespace redlatch::test
