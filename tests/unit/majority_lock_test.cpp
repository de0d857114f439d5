#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace majority_lock_test {

TEST(MajorityLock, IsHeldWhenAMajorityAgrees) {
  TestLock lock = lock_on(fake_servers(servers("yay")));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.remaining(), 9898ms);
}

TEST(MajorityLock, TakesBackWhatAMinorityGave) {
  const Fake executor = fake_servers(servers("ynn"));
  TestLock lock = lock_on(executor);
  EXPECT_FALSE(lock.try_lock());
  ASSERT_EQ(executor->posted.size(), 1U);
  EXPECT_EQ(executor->posted[0].command, "RELEASE job " + token_in(executor->said()[0]));
}

TEST(MajorityLock, TakesBackWhatAMinorityGaveWhenTheOthersFailed) {
  const Fake executor = fake_servers(servers("yaa"));
  TestLock lock = lock_on(executor);
  EXPECT_EQ(error_of([&] { return lock.try_lock(); }).code(), Errc::no_quorum);
  EXPECT_EQ(executor->posted.size(), 1U);
}

TEST(MajorityLock, IsShortenedWhenAMajorityMayHaveTakenAShorterTtl) {
  for (const std::vector<Answer>& answers :
       {std::vector<Answer>{away(), in_doubt(), in_doubt()},
        std::vector<Answer>{away(), in_doubt(), says(integer(1))}}) {
    const Fake executor = fake_servers(servers("yyy"));
    TestLock lock = lock_on(executor);
    EXPECT_TRUE(lock.try_lock());
    for (std::size_t i = 0; i < answers.size(); ++i) executor->will(answers[i], i);
    static_cast<void>(error_of([&] { return lock.extend(1s); }));
    EXPECT_EQ(lock.remaining(), 988ms);
  }
}

/// The others are certain to keep it.
TEST(MajorityLock, IsNotShortenedWhenAMinorityHasTakenAShorterTtl) {
  for (const Answer& answer : {in_doubt(), says(integer(1))}) {
    const Fake executor = fake_servers(servers("yyy"));
    TestLock lock = lock_on(executor);
    EXPECT_TRUE(lock.try_lock());
    executor->will(away(), 0);
    executor->will(away(), 1);
    executor->will(answer, 2);
    static_cast<void>(error_of([&] { return lock.extend(1s); }));
    EXPECT_EQ(lock.remaining(), 9898ms);
  }
}

/// With the values of the issue: a rival could have it once the late extension has run out.
TEST(MajorityLock, IsNotPromisedForLongerThanAnExtensionThatMayComeLateAllows) {
  const Fake executor = fake_servers(servers("yyy"));
  TestLock lock = lock_on(executor);
  EXPECT_TRUE(lock.try_lock());
  const auto extend = [&](std::chrono::milliseconds ttl, std::size_t silent_one) {
    for (std::size_t i = 0; i < 3; ++i) {
      executor->will(i == silent_one ? in_doubt() : says(integer(1)), i);
    }
    return lock.extend(ttl);
  };
  EXPECT_TRUE(extend(1s, 0));
  executor->advance(100ms);
  EXPECT_TRUE(extend(30s, 2));
  EXPECT_LE(lock.remaining(), 988ms);
}

/// A server that does not have the key may get it yet, if it has not answered the acquisition.
TEST(MajorityLock, IsReleasedAgainUnlessAllServersHaveReleasedIt) {
  for (const auto& [last, releases] :
       {std::pair(says(integer(1)), 0U), std::pair(says(integer(0)), 1U),
        std::pair(says(refusal("LOADING Redis is loading")), 1U), std::pair(in_doubt(), 1U)}) {
    const Fake executor = fake_servers(servers("yyy"));
    TestLock lock = lock_on(executor);
    EXPECT_TRUE(lock.try_lock());
    executor->will(says(integer(1)), 0);
    executor->will(says(integer(1)), 1);
    executor->will(last, 2);
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_EQ(executor->posted.size(), releases);
  }
}

TEST(MajorityLock, GivesEveryServerTheSameToken) {
  const Fake executor = fake_servers(servers("yyy"));
  TestLock lock = lock_on(executor);
  EXPECT_TRUE(lock.try_lock());
  for (const std::string& command : executor->said()) EXPECT_EQ(token_in(command), lock.token());
}

}  // namespace majority_lock_test
}  // namespace redlatch::test
