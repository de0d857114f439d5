#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <redlatch/protocol/read_write.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace read_write_test {

using Lines = std::vector<std::string>;
using Reader = TestLockOf<protocol::ReadSide>;

/// As the class has it.
class Writer : public TestLockOf<protocol::WriteSide> {
 public:
  explicit Writer(const Fake& executor, LockOptions options = {})
      : TestLockOf(executor, protocol::WriteSide("job", options.fencing), std::move(options)) {}
  Reader downgrade() { return Reader(core().turn_into(protocol::ReadSide(key(), false))); }
};

/// A writer that is held since now.
Writer writer_on(const Fake& executor, const LockOptions& options = {}) {
  executor->will(says(integer(1)));
  Writer writer(executor, options);
  EXPECT_TRUE(writer.try_lock());
  return writer;
}

std::string name_of_this_thread() { return detail::thread_name(); }
std::string own_reader() { return "r" + name_of_this_thread(); }

TEST(ReadWriteProtocol, NamesTheThreadThatAcquires) {
  EXPECT_EQ(protocol::ReadSide::owner_tag(), "r" + name_of_this_thread());
  EXPECT_EQ(protocol::WriteSide::owner_tag(), "w" + name_of_this_thread());
  std::string other;
  std::thread([&] { other = name_of_this_thread(); }).join();
  EXPECT_NE(other, name_of_this_thread());
}

TEST(ReadWriteProtocol, HasNoNumberForReaders) {
  EXPECT_EQ(error_of([] { return protocol::ReadSide("job", true); }).code(), Errc::unsupported);
}

TEST(ReadWriteProtocol, NumbersWriters) {
  const Fake executor = fake(says(integer(5)), says(integer(1)));
  Writer writer(executor, {.fencing = true});
  ASSERT_TRUE(writer.try_lock());
  EXPECT_EQ(writer.fencing_token(), 5U);
}

TEST(ReadWriteProtocol, ThrowsWhenTheWaitWouldBeForItsOwnThread) {
  const Fake executor = fake(says(integer(-1)), says(integer(-1)), says(text("1234")));
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->held_tag = own_reader();
  Writer writer(executor);
  try {
    writer.lock();
    ADD_FAILURE() << "held";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::resource_deadlock_would_occur);
  }
  EXPECT_TRUE(executor->posted.empty()) << "there is no entry to be left";
  EXPECT_EQ(executor->waiting, 0);
  EXPECT_TRUE(executor->pauses.empty());
}

TEST(ReadWriteProtocol, ThrowsForItsOwnThreadWhereThereIsNoQueue) {
  const Fake executor =
      fake(says(integer(-1)), says(integer(-1), integer(900), status("zset")), says(text("1234")));
  executor->held_tag = own_reader();
  Writer writer(executor);
  EXPECT_THROW(writer.lock(), std::system_error);
}

TEST(ReadWriteProtocol, SaysNoToAnAttemptThatWouldBeForItsOwnThread) {
  const Fake executor = fake(says(integer(-1)));
  EXPECT_FALSE(Writer(executor).try_lock());
}

TEST(ReadWriteProtocol, SaysNoToABoundedWaitForItsOwnThreadAtOnce) {
  const Fake executor = fake(says(integer(-1)), says(integer(-1)), says(text("1234")));
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->held_tag = own_reader();
  Writer writer(executor);
  const TimePoint start = executor->now();
  EXPECT_FALSE(writer.try_lock_for(1h));
  EXPECT_EQ(executor->now(), start);
}

TEST(WriteLockDowngrade, IsOneStepFromTheOneValueToTheOther) {
  const Fake executor = fake();
  Writer writer = writer_on(executor, {.ttl = 20s, .label = "me"});
  const std::string before = writer.token();
  executor->will(says(integer(1)).after(30ms));
  Reader reader = writer.downgrade();
  EXPECT_EQ(executor->said().back(), "DOWNGRADE job w" + name_of_this_thread() + " " + before +
                                         " me r" + name_of_this_thread() + " " + reader.token() +
                                         " me 20000");
  EXPECT_TRUE(reader.owns_lock());
  EXPECT_FALSE(writer.owns_lock());
  EXPECT_EQ(reader.remaining(), 20s - 202ms - 30ms) << "from before it was asked for";
  executor->will(says(integer(1)));
  EXPECT_EQ(reader.unlock(), Unlock::released);
}

TEST(WriteLockDowngrade, KeepsTheWriterWhenItIsRefusedForCertain) {
  const Fake executor = fake();
  Writer writer = writer_on(executor);
  executor->will(says(refusal("NOPERM this user has no permissions to run the 'evalsha' command")));
  EXPECT_EQ(error_of([&] { return writer.downgrade(); }).code(), Errc::not_permitted);
  EXPECT_TRUE(writer.owns_lock());
  EXPECT_EQ(executor->kept_after.back(), executor->calls.size()) << "it is renewed on";
  executor->will(says(integer(1)));
  EXPECT_EQ(writer.unlock(), Unlock::released);
}

TEST(WriteLockDowngrade, LosesTheWriterAndTakesTheReaderBackWhenItIsInDoubt) {
  const Fake executor = fake();
  Writer writer = writer_on(executor);
  executor->will(in_doubt());
  const Error error = error_of([&] { return writer.downgrade(); });
  EXPECT_TRUE(error.in_doubt());
  EXPECT_FALSE(writer.owns_lock());
  ASSERT_TRUE(executor->calls.back().cleanup.has_value());
  EXPECT_TRUE(executor->calls.back().cleanup->command.starts_with("RELEASE_SHARED job r"));
  executor->will(says(integer(0)));
  EXPECT_EQ(writer.unlock(), Unlock::lost);
}

TEST(WriteLockDowngrade, LosesTheWriterWhenTheScriptFailedHalfWay) {
  const Fake executor = fake();
  Writer writer = writer_on(executor);
  executor->will(says(refusal("OOM command not allowed script: x, on @user_script:9.")));
  executor->will(says(nil()));  // it is not there any more
  EXPECT_TRUE(error_of([&] { return writer.downgrade(); }).in_doubt());
  EXPECT_FALSE(writer.owns_lock());
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_TRUE(executor->posted[0].command.starts_with("RELEASE_SHARED job r"));
  executor->will(says(integer(0)));
  writer.unlock();
}

TEST(WriteLockDowngrade, KeepsAWriterThatIsThereAfterAScriptThatFailed) {
  const Fake executor = fake();
  Writer writer = writer_on(executor);
  executor->will(says(refusal("READONLY You can't write script: x, on @user_script:2.")));
  executor->will(says(text("1700000000000")));
  EXPECT_EQ(error_of([&] { return writer.downgrade(); }).code(), Errc::not_writable);
  EXPECT_TRUE(writer.owns_lock());
  executor->will(says(integer(1)));
  EXPECT_EQ(writer.unlock(), Unlock::released);
}

TEST(WriteLockDowngrade, OfALostWriterThrows) {
  const Fake executor = fake();
  Writer writer = writer_on(executor);
  executor->will(says(integer(0)));
  try {
    static_cast<void>(writer.downgrade());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::operation_not_permitted);
  }
  EXPECT_FALSE(writer.owns_lock());
  executor->will(says(integer(0)));
  writer.unlock();
}

TEST(WriteLockDowngrade, OfWhatIsNotHeldIsNotPermitted) {
  Writer writer(fake());
  try {
    static_cast<void>(writer.downgrade());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::operation_not_permitted);
  }
}

Fake fake_with_queue_and(std::vector<Answer> answers) {
  const Fake executor = fake(says(integer(0)));
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  for (Answer& answer : answers) executor->will(std::move(answer));
  return executor;
}
Answer behind_own_reader() { return says(integer(8 * 7 + 5), ok(), ok(), integer(20)); }

TEST(ReadWriteProtocol, WaitsForAReaderOfItsOwnThreadThatIsAboutToEnd) {
  const Fake executor =
      fake_with_queue_and({behind_own_reader(), behind_own_reader(), says(integer(8 * 7 + 1))});
  Writer writer(executor);
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

TEST(ReadWriteProtocol, WaitsForAReaderOfItsOwnThreadThatEndsLate) {
  const Fake executor = fake_with_queue_and(std::vector(20, behind_own_reader()));
  executor->will(says(integer(8 * 7 + 1)).after(5s));
  Writer writer(executor, {.ttl = 30s});
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

TEST(ReadWriteProtocol, TakesAReaderThatItsOwnThreadHoldsForADeadlock) {
  const Fake executor =
      fake_with_queue_and({behind_own_reader(), says(text("1234")), says(text("1234"))});
  executor->held_tag = own_reader();
  Writer writer(executor, {.ttl = 4s});
  EXPECT_THROW(writer.lock(), std::system_error);
  ASSERT_FALSE(executor->posted.empty());
  EXPECT_TRUE(executor->posted.back().command.starts_with("LEAVE_SHARED job "));
}

/// The release may be in doubt, or on its way by another connection, or have been lost with a
/// failover: the server has the reader until then, for a ttl at most.
TEST(ReadWriteProtocol, WaitsWhileTheServerHasAReaderThatItsThreadDoesNotHold) {
  const Fake executor = fake_with_queue_and(std::vector(60, says(integer(-1)).after(1s)));
  executor->will(says(integer(8 * 7 + 1)));
  Writer writer(executor, {.ttl = 4s});
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

TEST(ReadWriteProtocol, WaitsSoWhereThereIsNoQueue) {
  const Fake executor = fake(says(integer(0)));
  for (int i = 0; i < 60; ++i) {
    executor->will(says(integer(-1), integer(900), status("zset")).after(1s));
  }
  executor->will(says(integer(1), integer(900), status("zset")));
  Writer writer(executor, {.ttl = 4s});
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

TEST(ReadWriteProtocol, WaitsSoWhileItsThreadReadsTheKeyOfAnotherServer) {
  const Fake executor =
      fake_with_queue_and({says(integer(-1)), says(nil()), says(integer(8 * 7 + 1))});
  executor->held_tag = own_reader();
  Writer writer(executor, {.ttl = 4s});
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
  EXPECT_EQ(executor->said().at(2), "ZSCORE job " + own_reader() + " token");
}

TEST(ReadWriteProtocol, WaitsSoWhileAnotherThreadOfTheClientReads) {
  const Fake executor = fake_with_queue_and({says(integer(-1)), says(integer(8 * 7 + 1))});
  executor->holder = 4711;
  executor->held_tag = "r" + std::string(36, 'x');
  Writer writer(executor, {.ttl = 4s});
  writer.lock();
  EXPECT_TRUE(writer.owns_lock());
}

}  // namespace read_write_test
}  // namespace redlatch::test
