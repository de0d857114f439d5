#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <system_error>
#include <vector>

#include <redlatch/protocol/permit.hpp>
#include <redlatch/protocol/shared.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace shared_test {

using Lines = std::vector<std::string>;
using QueueEntry = protocol::QueueEntry;

const protocol::Shared shared("job");
const protocol::Shared numbered("job", true);
const QueueEntry waiter{.value = "value", .ttl = 9s, .channel = "redlatch:me"};

TEST(SharedProtocol, SaysEverythingByScript) {
  EXPECT_EQ(line(shared.acquire("value", 9s)), "ACQUIRE_SHARED job value 9000");
  EXPECT_EQ(line(shared.extend("value", 9s)), "EXTEND_SHARED job value 9000");
  EXPECT_EQ(line(shared.claim("value", 9s)), "EXTEND_SHARED job value 9000");
  EXPECT_EQ(line(shared.release("value")), "RELEASE_SHARED job value");
  EXPECT_EQ(line(shared.enqueue(waiter)), "STAND_SHARED job value 9000 redlatch:me 3000 new");
  EXPECT_EQ(line(shared.refresh(waiter, 77)), "STAND_SHARED job value 9000 redlatch:me 3000 77");
  EXPECT_EQ(line(shared.dequeue(waiter, 77)), "LEAVE_SHARED job value 9000 redlatch:me 77");
  EXPECT_EQ(line(shared.ask_ttl()), "LIFE_SHARED job");
}

TEST(SharedProtocol, DrawsANumberWithFencing) {
  EXPECT_EQ(line(numbered.acquire("value", 9s)), "ACQUIRE_SHARED job value 9000 86400000");
  EXPECT_EQ(line(numbered.claim("value", 9s)), "CLAIM_SHARED job value 9000 86400000");
  EXPECT_EQ(line(numbered.extend("value", 9s)), "EXTEND_SHARED job value 9000");
}

/// A cluster refuses commands with several keys while it moves their slot.
TEST(SharedProtocol, RenewsAndReleasesByOneKeyWhereASlotIsMoved) {
  for (const protocol::Script* script :
       {shared.extend("value", 9s).script(), numbered.extend("value", 9s).script(),
        shared.release("value").script()->alone, shared.dequeue(waiter, 77).script()->alone,
        protocol::release_script.alone, protocol::leave_script.alone}) {
    ASSERT_NE(script, nullptr);
    EXPECT_EQ(script->keys_of_each(), 1U);
    EXPECT_FALSE(script->takes_more);
    EXPECT_EQ(script->text.find("KEYS[2]"), std::string_view::npos);
  }
}

TEST(SharedProtocol, AsksForItsOwnEntryAmongTheHolders) {
  EXPECT_EQ(line(shared.holder("value")), "ZSCORE job value");
  EXPECT_TRUE(protocol::Shared::holds(text("1700000000000"), "value"));
  EXPECT_FALSE(protocol::Shared::holds(nil(), "value"));
  EXPECT_FALSE(protocol::Shared::holds(refusal("ERR no"), "value"));
}

TEST(SharedProtocol, TakesASortedSetOrNothingForALock) {
  EXPECT_TRUE(protocol::Shared::is_lock(status("zset")));
  EXPECT_TRUE(protocol::Shared::is_lock(status("none")));
  EXPECT_TRUE(protocol::Shared::is_lock(refusal("NOPERM no")));
  for (const char* kind : {"string", "list", "set", "hash", "stream", ""}) {
    EXPECT_FALSE(protocol::Shared::is_lock(status(kind))) << kind;
  }
}

TEST(SharedProtocol, GivesAGrantBackByTheScriptOfItsClass) {
  const std::string token = "3f0c2d1e-2222-4333-8444-555555555555";
  for (const std::string& value : {token, token + " a label", "0" + token.substr(1)}) {
    EXPECT_EQ(line(protocol::give_back("job", value)), "LEAVE job " + value);
  }
  for (const std::string& owner_tag :
       {std::string("3"), std::string("1000000"), std::string("=o:x"),
        "=o:" + std::string(256, 'a'), "=t:" + token, "r" + token, "w" + token}) {
    const std::string value = owner_tag + " " + token + " a label";
    EXPECT_EQ(line(protocol::give_back("job", value)), "LEAVE_SHARED job " + value);
  }
}

TEST(SharedProtocol, ReadsADeadlockAsANoForEver) {
  EXPECT_EQ(protocol::vote(integer(-1)), protocol::Vote::no);
  EXPECT_TRUE(protocol::is_deadlock(-1));
  EXPECT_FALSE(protocol::is_deadlock(0));
  EXPECT_EQ(protocol::status(integer(-1)), protocol::QueueStatus::deadlock);
  EXPECT_EQ(protocol::expiry(integer(-1)), 0);
}

TEST(SharedProtocol, ReadsALimitOfOthersAsAnArgumentThatIsWrong) {
  const std::string words = "LIMIT there are holders with a limit of 3";
  EXPECT_EQ(protocol::classify(words), Errc::invalid_argument);
  const Error error = protocol::to_error(refusal(words), "job", "redis://fake:1/0", false);
  EXPECT_NE(std::string(error.what()).find(words), std::string::npos);
  EXPECT_NE(std::string(error.what()).find("the same limit"), std::string::npos);
}

using TestPermit = TestLockOf<protocol::Permit>;

TestPermit permit_on(const Fake& executor, LockOptions options = {}) {
  protocol::Permit protocol("job", 3, options.fencing);
  return TestPermit(executor, std::move(protocol), std::move(options));
}

TEST(SharedLock, IsHeldByAValueWithItsMarkAndLabel) {
  const Fake executor = fake(says(integer(1)), says(integer(1)));
  TestPermit lock = permit_on(executor, {.label = "me"});
  ASSERT_TRUE(lock.try_lock());
  const std::string value = "3 " + lock.token() + " me";
  EXPECT_EQ(lock.token().size(), 36U);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(executor->said(),
            (Lines{"ACQUIRE_SHARED job " + value + " 10000", "RELEASE_SHARED job " + value}));
}

TEST(SharedLock, IsTriedOnceAndThenWaitedFor) {
  const Fake executor = fake(says(integer(0)), says(integer(1)), says(integer(1)));
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  TestPermit lock = permit_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->said()[0].starts_with("ACQUIRE_SHARED job 3 "));
  EXPECT_EQ(executor->said()[1],
            "STAND_SHARED job 3 " + lock.token() + " 10000 redlatch:me 3000 new");
}

TEST(SharedLock, IsWaitedForByEachThreadByItself) {
  const Fake executor = fake(says(integer(1)), says(integer(1)));
  executor->others_wait = true;
  TestPermit lock = permit_on(executor);
  lock.lock();
  EXPECT_TRUE(executor->said()[0].starts_with("ACQUIRE_SHARED job "));
}

TEST(SharedLock, IsNotPassedOnInsideTheProcess) {
  const Fake executor = fake(says(integer(1)), says(integer(1)));
  executor->passes_on = true;
  TestPermit lock = permit_on(executor);
  lock.lock();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(executor->said()[1].starts_with("RELEASE_SHARED job "));
}

TEST(SharedLock, AsksAgainWhereThereIsNoQueue) {
  const Fake executor = fake(says(integer(0)), says(integer(0), integer(5), status("zset")),
                             says(integer(1)), says(integer(1)));
  TestPermit lock = permit_on(executor);
  lock.lock();
  EXPECT_EQ(executor->calls[1].commands.at(1), "LIFE_SHARED job");
  EXPECT_EQ(executor->calls[1].commands.at(2), "TYPE job");
}

TEST(SharedLock, NeedsScripts) {
  const Fake executor = fake();
  executor->runs_scripts = false;
  const Error error = error_of([&] { return permit_on(executor).owns_lock(); });
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_NE(std::string(error.what()).find("ClientOptions::scripting"), std::string::npos);
}

}  // namespace shared_test
}  // namespace redlatch::test
