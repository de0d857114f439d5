// Locks that have to get to replicas, or to the disk, before they count.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace durability_test {

const LockOptions on_replicas{.ttl = 5s, .durability = {.replicas = 2, .timeout = 250ms}};
const LockOptions on_disk{.ttl = 5s, .durability = {.aof = true, .timeout = 250ms}};

protocol::Reply on_disks(std::int64_t local) { return array({integer(local), integer(0)}); }

TEST(Durability, IsNotAskedForByDefault) {
  const Fake server = fake(says(ok()));
  const TestLock lock = held_on(server);
  EXPECT_EQ(server->calls.size(), 1U);
}

TEST(Durability, IsAskedForBehindAChangeOnAConnectionOfItsOwn) {
  const Fake server = fake(says(ok()), says(integer(1), integer(2)));
  TestLock lock = lock_on(server, on_replicas);
  ASSERT_TRUE(lock.try_lock());
  ASSERT_EQ(server->calls.size(), 2U);
  EXPECT_EQ(server->calls[0].blocks, 0ms);
  EXPECT_EQ(server->calls[1].blocks, 250ms);
  EXPECT_EQ(server->calls[1].commands,
            (std::vector<std::string>{"EXTEND job " + lock.token() + " 5000", "WAIT 2 250"}));
}

TEST(Durability, CountsValidityFromTheExtension) {
  const Fake server = fake(says(ok()).after(1s), says(integer(1), integer(2)));
  TestLock lock = lock_on(server, on_replicas);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_GT(lock.remaining(), 4900ms);
}

TEST(Durability, ThatDoesNotComeInTimeUndoesTheLock) {
  const Fake server = fake(says(ok()), says(integer(1), integer(1)).after(300ms), says(integer(1)));
  TestLock lock = lock_on(server, on_replicas);
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_NE(std::string(error.what())
                .find("1 of 2 replicas have the lock after 250 ms; see INFO replication at the "
                      "server: durability.replicas may be more than there are: "),
            std::string::npos)
      << error.what();
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_TRUE(server->said().back().starts_with("RELEASE job "));
  EXPECT_TRUE(server->posted.empty());
}

TEST(Durability, LeavesAReleaseWithoutAnAnswerToTheBackground) {
  for (const Answer& answer : {in_doubt(), says(refusal("LOADING no"))}) {
    const Fake server = fake(says(ok()), says(integer(1), integer(1)).after(300ms), answer);
    TestLock lock = lock_on(server, on_replicas);
    EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::no_quorum);
    ASSERT_EQ(server->posted.size(), 1U);
    EXPECT_TRUE(server->posted.front().command.starts_with("RELEASE job "));
  }
}

TEST(Durability, OnDiskIsAskedForByWaitaof) {
  const Fake server = fake(says(ok()), says(integer(1), on_disks(1)));
  TestLock lock = lock_on(server, on_disk);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(server->calls[1].commands.back(), "WAITAOF 1 0 250");
}

TEST(Durability, OnDiskThatDoesNotComeInTimeUndoesTheLock) {
  const Fake server =
      fake(says(ok()), says(integer(1), on_disks(0)).after(300ms), says(integer(1)));
  TestLock lock = lock_on(server, on_disk);
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::no_quorum);
  EXPECT_TRUE(server->said().back().starts_with("RELEASE job "));
}

TEST(Durability, MayBeBothWithinTheTime) {
  const Fake server =
      fake(says(ok()), says(integer(1), integer(1)).after(100ms), says(integer(1), on_disks(1)));
  TestLock lock = lock_on(server, {.ttl = 5s, .durability = {.replicas = 1, .aof = true}});
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(server->calls[2].commands.back(), "WAITAOF 1 0 900");
}

TEST(Durability, ThatTheServerDoesNotKnowUndoesTheLock) {
  const Fake server =
      fake(says(ok()), says(integer(1), refusal("ERR unknown command 'WAITAOF', with args")),
           says(integer(1)));
  TestLock lock = lock_on(server, on_disk);
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_NE(std::string(error.what()).find("leave durability.aof out"), std::string::npos);
  EXPECT_TRUE(server->said().back().starts_with("RELEASE job "));
}

TEST(Durability, WithoutAnAnswerUndoesTheLock) {
  const Fake server = fake(says(ok()), in_doubt());
  TestLock lock = lock_on(server, on_replicas);
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::timed_out);
  EXPECT_EQ(server->posted.size(), 1U);
}

TEST(Durability, OfALockThatWasLostMeanwhileIsNone) {
  const Fake server = fake(says(ok()), says(integer(0), integer(2)));
  TestLock lock = lock_on(server, on_replicas);
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::no_quorum);
  EXPECT_FALSE(lock.owns_lock());
}

TEST(Durability, IsNotAskedForALockOfSomebodyElse) {
  const Fake server = fake(says(nil()));
  TestLock lock = lock_on(server, on_replicas);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(server->calls.size(), 1U);
}

TEST(Durability, OfZeroTimeIsAskedForOnce) {
  const Fake server = fake(says(ok()), says(integer(1), integer(0)));
  TestLock lock = lock_on(server, {.durability = {.replicas = 1, .timeout = 0ms}});
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::no_quorum);
  EXPECT_EQ(server->calls[1].commands.back(), "WAIT 1 1") << "0 would be for ever";
}

TEST(Durability, CannotBeNegative) {
  const Fake server = fake();
  for (const Durability& bad : {Durability{.replicas = -1}, Durability{.timeout = -1ms}}) {
    const Error error = error_of([&] { return lock_on(server, {.durability = bad}).owns_lock(); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("durability."), std::string::npos);
  }
}

}  // namespace durability_test
}  // namespace redlatch::test
