#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "replies.hpp"

namespace redlatch::protocol {
namespace {

using namespace std::chrono_literals;
using test::integer;
using test::nil;
using test::refusal;
using test::status;
using test::text;

using Words = std::vector<std::string>;

Words words(const Command& command) {
  Words all;
  for (const Argument& argument : command.arguments()) all.emplace_back(argument.text());
  return all;
}

const Exclusive exclusive("job:42");

TEST(Exclusive, AcquiresWithOneSet) {
  const Command command = exclusive.acquire("token", 1500ms);
  EXPECT_EQ(words(command), (Words{"SET", "job:42", "token", "NX", "PX", "1500"}));
  EXPECT_EQ(command.script(), nullptr);
  EXPECT_EQ(command.expect(), Expect::ok_or_nil);
}

TEST(Exclusive, UsesTheKeyExactlyAsItIs) {
  const std::string odd("a key\0with {anything}\r\n", 23);
  EXPECT_EQ(words(Exclusive(odd).acquire("token", 1s))[1], odd);
}

TEST(Exclusive, ReleasesByTheCompareAndDeleteScript) {
  const Command command = exclusive.release("token");
  EXPECT_EQ(command.script(), &release_script);
  EXPECT_EQ(words(command), (Words{"job:42", "token"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(Exclusive, ExtendsByTheCompareAndExpireScript) {
  const Command command = exclusive.extend("token", 30s);
  EXPECT_EQ(command.script(), &extend_script);
  EXPECT_EQ(words(command), (Words{"job:42", "token", "30000"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(Exclusive, AsksWhoHoldsTheKey) {
  EXPECT_EQ(words(exclusive.holder("token")), (Words{"GET", "job:42"}));
  EXPECT_EQ(exclusive.holder("token").expect(), Expect::text_or_nil);
}

TEST(Exclusive, AsksHowLongTheLeaseMayLast) {
  EXPECT_EQ(words(exclusive.life()), (Words{"PTTL", "job:42"}));
  EXPECT_EQ(exclusive.life().expect(), Expect::integer);
}

TEST(Exclusive, AsksForTheKind) {
  EXPECT_EQ(words(exclusive.kind()), (Words{"TYPE", "job:42"}));
  EXPECT_EQ(exclusive.kind().expect(), Expect::status);
}

TEST(Exclusive, RecognisesItsTokenOnlyInAString) {
  EXPECT_TRUE(Exclusive::holds(text("token"), "token"));
  EXPECT_FALSE(Exclusive::holds(text("another"), "token"));
  EXPECT_FALSE(Exclusive::holds(nil(), "token"));
  EXPECT_FALSE(Exclusive::holds(nil(), ""));
  EXPECT_FALSE(Exclusive::holds(status("token"), "token"));
  EXPECT_FALSE(Exclusive::holds(refusal("token"), "token"));
}

TEST(Exclusive, TakesAStringOrNothingForALock) {
  EXPECT_TRUE(Exclusive::is_lock(status("string")));
  EXPECT_TRUE(Exclusive::is_lock(status("none")));
}

TEST(Exclusive, TakesNothingElseForALock) {
  for (const char* kind : {"list", "set", "zset", "hash", "stream", "ReJSON-RL", ""}) {
    EXPECT_FALSE(Exclusive::is_lock(status(kind))) << kind;
  }
}

TEST(Exclusive, AssumesALockWhereTheKindIsNotTold) {
  EXPECT_TRUE(Exclusive::is_lock(refusal("NOPERM no permissions to run the 'type' command")));
}

TEST(Scripts, NameTheKeysThatTheyUse) {
  EXPECT_EQ(extend_script.all_keys(), 1U);
  EXPECT_EQ(release_script.all_keys(), 2U);
  EXPECT_EQ(acquire_fenced_script.all_keys(), 2U);
  EXPECT_EQ(release_script.effect, Script::Effect::remove);
  EXPECT_EQ(extend_script.effect, Script::Effect::expire);
}

TEST(Scripts, DrawTheFencingTokenBeforeTheLockIsTaken) {
  const std::string lua(acquire_fenced_script.text);
  EXPECT_LT(lua.find("redis.call('SET', counter"), lua.find("redis.call('SET', KEYS[1]"));
}

TEST(Scripts, SetTheKeyBeforeAnybodyIsToldThatItIsTheirs) {
  const std::string lua(release_script.text);
  EXPECT_LT(lua.find("redis.pcall('SET'"), lua.find("redis.pcall('PUBLISH'"));
}

TEST(Scripts, HaveAHashOfFortyLowerCaseDigits) {
  for (const Script* script : {&release_script, &extend_script, &acquire_fenced_script,
                               &claim_fenced_script, &stand_script, &leave_script}) {
    EXPECT_EQ(script->sha1.size(), 40U);
    EXPECT_EQ(script->sha1.find_first_not_of("0123456789abcdef"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace redlatch::protocol
