// Fencing tokens and labels, as the lock sees them.

#include <gtest/gtest.h>

#include <string>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace fencing_test {

const LockOptions fenced{.ttl = 5s, .fencing = true};

TEST(LockFencing, TakesTheNumberThatTheServerDrew) {
  const Fake server = fake(says(integer(1'795'000'000'000'123)));
  TestLock lock = lock_on(server, fenced);
  EXPECT_EQ(lock.fencing_token(), 0U);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.fencing_token(), 1'795'000'000'000'123U);
  EXPECT_TRUE(server->said().front().starts_with("ACQUIRE_FENCED job "));
}

TEST(LockFencing, KeepsTheCounterForADayOrAHundredTtls) {
  const Fake server = fake(says(integer(1)), says(integer(2)));
  ASSERT_TRUE(lock_on(server, {.ttl = 5s, .fencing = true}).try_lock());
  EXPECT_TRUE(server->said().front().ends_with(" 5000 86400000"));
  const Fake another = fake(says(integer(1)));
  ASSERT_TRUE(lock_on(another, {.ttl = 1h, .fencing = true}).try_lock());
  EXPECT_TRUE(another->said().front().ends_with(" 3600000 360000000"));
}

TEST(LockFencing, OfSomebodyElsesLockGivesNoNumber) {
  const Fake server = fake(says(integer(0)));
  TestLock lock = lock_on(server, fenced);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(lock.fencing_token(), 0U);
}

TEST(LockFencing, EndsWithTheLock) {
  const Fake server = fake(says(integer(5)));
  TestLock lock = lock_on(server, fenced);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(lock.fencing_token(), 0U);
}

TEST(LockFencing, EndsWithItsValidity) {
  const Fake server = fake(says(integer(5)));
  TestLock lock = lock_on(server, fenced);
  ASSERT_TRUE(lock.try_lock());
  server->advance(5s);
  EXPECT_EQ(lock.fencing_token(), 0U);
}

/// An error of a script says nothing of what the script did before it.
TEST(LockFencing, ThatFailedIsTakenBack) {
  const Fake server = fake(says(refusal("OOM command not allowed when used memory > 'maxmemory'")));
  TestLock lock = lock_on(server, fenced);
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::not_writable);
  ASSERT_EQ(server->posted.size(), 1U);
  EXPECT_TRUE(server->posted.front().command.starts_with("RELEASE job "));
}

TEST(LockFencing, HasToBeAskedFor) {
  const Fake server = fake();
  const TestLock lock = lock_on(server);
  EXPECT_EQ(error_of([&] { return lock.fencing_token(); }).code(), Errc::invalid_argument);
}

TEST(LockFencing, IsNotSupportedWithoutScripts) {
  const Fake server = fake();
  server->runs_scripts = false;
  EXPECT_EQ(error_of([&] { return lock_on(server, fenced).owns_lock(); }).code(),
            Errc::unsupported);
}

class LockLabelled : public testing::Test {
 protected:
  Fake server = fake(says(ok()));
  TestLock lock = lock_on(server, {.ttl = 5s, .label = "worker 7"});
  void SetUp() override { ASSERT_TRUE(lock.try_lock()); }
};

TEST_F(LockLabelled, ValuesStandBehindTheToken) {
  EXPECT_EQ(server->said().front(), "SET job " + lock.token() + " worker 7 NX PX 5000");
  EXPECT_EQ(lock.token().size(), 36U);
}

TEST_F(LockLabelled, ValuesAreWhatIsCompared) {
  const std::string value = lock.token() + " worker 7";
  server->will(says(integer(1)));
  server->will(says(text(value)));
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  const std::vector<std::string> said = server->said();
  EXPECT_EQ(said[1], "EXTEND job " + value + " 5000");
  EXPECT_EQ(said[3], "RELEASE job " + value);
}

TEST_F(LockLabelled, ValuesAreRenewed) {
  EXPECT_EQ(line(server->kept->extension()), "EXTEND job " + lock.token() + " worker 7 5000");
}

TEST_F(LockLabelled, ValuesOfOthersAreNotOurs) {
  server->will(says(text(lock.token())));
  EXPECT_FALSE(lock.verify());
}

TEST(LockLabel, CannotBreakALineOrGoOnForEver) {
  for (const std::string& label :
       {std::string("two\nlines"), std::string("\x7f"), std::string(1025, 'x')}) {
    const Fake server = fake();
    const Error error = error_of([&] { return lock_on(server, {.label = label}).owns_lock(); });
    EXPECT_EQ(error.code(), Errc::invalid_argument) << label;
    EXPECT_NE(std::string(error.what()).find("label"), std::string::npos);
  }
}

TEST(LockLabel, MayBeInAnyLanguage) {
  const Fake server = fake(says(ok()));
  EXPECT_TRUE(lock_on(server, {.label = "Büro 7 — " + std::string(1000, 'x')}).try_lock());
}

}  // namespace fencing_test
}  // namespace redlatch::test
