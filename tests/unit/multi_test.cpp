#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <redlatch/protocol/multi.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace multi_test {

using protocol::Multi;
using Keys = std::vector<std::string>;

const Multi multi(Keys{"job", "mail", "log"}, false);

TEST(MultiProtocol, SaysEverythingAboutAllOfItsKeys) {
  EXPECT_EQ(line(multi.acquire("value", 9s)), "ACQUIRE_ALL job value 9000 4:mail3:log");
  EXPECT_EQ(line(multi.extend("value", 9s)), "EXTEND_ALL job value 9000 4:mail3:log");
  EXPECT_EQ(line(multi.release("value")), "RELEASE_ALL job value 4:mail3:log");
  EXPECT_EQ(line(multi.holder("value")), "VERIFY job value 4:mail3:log");
  EXPECT_EQ(line(multi.ask_ttl()), "LIFE_ALL job 4:mail3:log");
}

TEST(MultiProtocol, HasACounterForEachKey) {
  EXPECT_EQ(line(Multi(Keys{"job", "mail"}, true).acquire("value", 9s)),
            "ACQUIRE_ALL_FENCED job value 9000 86400000 4:mail");
}

TEST(MultiProtocol, HasItsFirstKeyForAName) { EXPECT_EQ(multi.key(), "job"); }

TEST(MultiProtocol, MayBeOfOneKey) {
  EXPECT_EQ(line(Multi(Keys{"job"}, false).release("value")), "RELEASE_ALL job value ");
}

std::string refusal_of(const Keys& keys) {
  try {
    const Multi refused(keys, false);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    return error.what();
  }
  return {};
}

TEST(MultiProtocol, RefusesKeysThatCannotBeLockedTogether) {
  EXPECT_NE(refusal_of({}).find("name at least one"), std::string::npos);
  EXPECT_NE(refusal_of({"job", ""}).find("is empty"), std::string::npos);
  EXPECT_NE(refusal_of({"job", "mail", "job"}).find("\"job\" is named twice"), std::string::npos);
  EXPECT_NE(refusal_of({"a\n", "a\n"}).find("\"a\\x0a\""), std::string::npos);
}

TEST(MultiProtocol, RefusesMoreKeysThanThereShouldBe) {
  Keys keys;
  for (std::size_t i = 0; i < Multi::max_keys; ++i) keys.push_back(std::to_string(i));
  EXPECT_EQ(refusal_of(keys), "");
  keys.emplace_back("one more");
  EXPECT_NE(refusal_of(keys).find("257 keys"), std::string::npos);
}

TEST(MultiProtocol, InSeveralSlotsOfAClusterThrows) {
  const Fake executor =
      fake(says(refusal("CROSSSLOT Keys in request don't hash to the same slot")));
  TestLockOf<Multi> lock(executor, multi, {});
  const Error error = error_of([&] { return lock.try_lock(); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("the same hash tag"), std::string::npos);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_TRUE(executor->posted.empty()) << "there is nothing to take back";
}

TEST(MultiProtocol, AsksAgainAfterAPauseWhenOneIsNotFree) {
  const Fake executor = fake(says(integer(0)), says(integer(0)), says(integer(1)));
  TestLockOf<Multi> lock(executor, multi, {});
  lock.lock();
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_FALSE(executor->pauses.empty());
}

}  // namespace multi_test
}  // namespace redlatch::test
