#include <gtest/gtest.h>

#include <set>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace wait_errors_test {

Answer fails(Errc code) { return {.failure = Error(code, "told to", "redis://fake:1/0")}; }

constexpr Errc ridden_out[] = {Errc::unreachable, Errc::timed_out, Errc::not_writable};
constexpr Errc final[] = {Errc::authentication_failed, Errc::not_permitted, Errc::wrong_type,
                          Errc::protocol_error,        Errc::no_quorum,     Errc::unsupported,
                          Errc::invalid_argument};

TEST(LockWait, ThrowsTheFirstAttemptsErrorWhateverItIs) {
  for (const auto& codes : {std::span<const Errc>(ridden_out), std::span<const Errc>(final)}) {
    for (const Errc code : codes) {
      const Fake executor = fake(fails(code));
      TestLock lock = lock_on(executor);
      EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), code);
      EXPECT_EQ(executor->calls.size(), 1U);
    }
  }
}

TEST(LockWait, RidesOutAServerThatIsAwayOrCannotWrite) {
  for (const Errc code : ridden_out) {
    const Fake executor = fake(says(nil()), fails(code), fails(code), fails(code),
                               says(ok(), integer(9), status("string")));
    TestLock lock = lock_on(executor);
    lock.lock();
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(executor->pauses.size(), 4U);
  }
}

TEST(LockWait, RidesOutAReplyThatSaysSo) {
  const Fake executor =
      fake(says(nil()), says(refusal("READONLY You can't write"), integer(5), status("string")),
           says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
}

TEST(LockWait, ThrowsAnyOtherErrorAtOnce) {
  for (const Errc code : final) {
    const Fake executor = fake(says(nil()), fails(code));
    TestLock lock = lock_on(executor);
    EXPECT_EQ(error_of([&] { return lock.try_lock_for(1h); }).code(), code);
    EXPECT_EQ(executor->calls.size(), 2U);
    EXPECT_FALSE(lock.owns_lock());
  }
}

TEST(LockWait, ThrowsTheLastErrorAtTheDeadline) {
  const Fake executor = fake(says(nil()), fails(Errc::unreachable));
  for (int i = 0; i < 100; ++i) executor->will(fails(Errc::not_writable));
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock_for(300ms); }).code(), Errc::not_writable);
  EXPECT_EQ(executor->calls.back().at, executor->calls.front().at + 300ms);
}

TEST(LockWait, AnswersFalseWhenTheLastAttemptFoundAHolder) {
  const Fake executor = fake(says(nil()), fails(Errc::unreachable).after(200ms),
                             says(nil(), integer(-1), status("string")).after(100ms));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock_for(300ms));
}

TEST(LockWait, ForgetsTheHoldersLifeAfterAnError) {
  const Fake executor = fake(says(nil()), says(nil(), integer(0), status("string")));
  for (int i = 0; i < 200; ++i) executor->will(fails(Errc::unreachable));
  executor->will(says(ok(), integer(9)));
  TestLock lock = lock_on(executor);
  lock.lock();
  for (std::size_t i = 2; i < executor->pauses.size(); ++i) EXPECT_GE(executor->pauses[i], 1ms);
}

TEST(LockWait, RidesOutAnAnswerThatCameTooLateAndReleasesIt) {
  const Fake executor =
      fake(says(nil()), says(ok(), integer(9), status("string")).after(1s), says(ok(), integer(9)));
  TestLock lock = lock_on(executor, {.ttl = 1s});
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(token_in(executor->posted[0].command), token_in(executor->calls[1].commands[0]));
  EXPECT_NE(token_in(executor->posted[0].command), lock.token());
}

TEST(LockWait, HandsOverAReleaseOfItsOwnWithEveryAttempt) {
  const Fake executor = fake(says(nil()), in_doubt(), in_doubt(Errc::unreachable),
                             says(ok(), integer(9), status("string")));
  TestLock lock = lock_on(executor);
  lock.lock();
  std::set<std::string> tokens;
  for (const Call& call : executor->calls) {
    ASSERT_TRUE(call.cleanup.has_value());
    EXPECT_EQ(call.cleanup->command, "RELEASE job " + token_in(call.commands[0]));
    tokens.insert(token_in(call.commands[0]));
  }
  EXPECT_EQ(tokens.size(), 4U);
}

TEST(LockWait, IsInDoubtWhenTheLastErrorIs) {
  const Fake executor = fake(says(nil()), in_doubt());
  TestLock lock = lock_on(executor);
  EXPECT_TRUE(error_of([&] { return lock.try_lock_for(1ns); }).in_doubt());
}

TEST(LockWait, EndsWhenMemoryRunsOut) {
  const Fake executor = fake(says(nil()), out_of_memory());
  TestLock lock = lock_on(executor);
  EXPECT_THROW(lock.lock(), std::bad_alloc);
  EXPECT_FALSE(lock.owns_lock());
}

}  // namespace wait_errors_test
}  // namespace redlatch::test
