#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/lock_protocol.hpp>
#include <redlatch/protocol/permit.hpp>
#include <redlatch/protocol/shared.hpp>

#include "replies.hpp"
#include "scripts.hpp"

namespace redlatch::protocol {
namespace exclusive_test {

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

/// Says that a release can leave the key, and has no command for that.
struct WithoutReleaseAfter : Permit {
  static constexpr bool has_min_hold = true;
};
static_assert(LockProtocol<Exclusive> && LockProtocol<Permit>);
static_assert(!LockProtocol<Shared>, "has no owner tag");
static_assert(!LockProtocol<WithoutReleaseAfter>);

TEST(ExclusiveProtocol, AcquiresWithOneSet) {
  const Command command = exclusive.acquire("token", 1500ms);
  EXPECT_EQ(words(command), (Words{"SET", "job:42", "token", "NX", "PX", "1500"}));
  EXPECT_EQ(command.script(), nullptr);
  EXPECT_EQ(command.expect(), Expect::ok_or_nil);
}

TEST(ExclusiveProtocol, UsesTheKeyExactlyAsItIs) {
  const std::string odd("a key\0with {anything}\r\n", 23);
  EXPECT_EQ(words(Exclusive(odd).acquire("token", 1s))[1], odd);
}

TEST(ExclusiveProtocol, ReleasesByTheCompareAndDeleteScript) {
  const Command command = exclusive.release("token");
  EXPECT_EQ(command.script(), &release_script);
  EXPECT_EQ(words(command), (Words{"job:42", "token"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(ExclusiveProtocol, ExtendsByTheCompareAndExpireScript) {
  const Command command = exclusive.extend("token", 30s);
  EXPECT_EQ(command.script(), &extend_script);
  EXPECT_EQ(words(command), (Words{"job:42", "token", "30000"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(ExclusiveProtocol, ReleasesLaterByTheScriptThatReplacesTheValue) {
  const Command command = exclusive.release_after("11-22 me", 3s);
  EXPECT_EQ(command.script(), &release_after_script);
  EXPECT_EQ(words(command), (Words{"job:42", "11-22 me", "3000", "22 me"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(ExclusiveProtocol, LeavesAValueThatNoTokenMatches) {
  EXPECT_EQ(released_value("0a1b2c3d-1111-4222-8333-444444444444"), "1111-4222-8333-444444444444");
  EXPECT_EQ(released_value("0a1b2c3d-1111-4222-8333-444444444444 me-too"),
            "1111-4222-8333-444444444444 me-too");
}

TEST(ExclusiveProtocol, AsksWhoHoldsTheKey) {
  EXPECT_EQ(words(exclusive.holder("token")), (Words{"GETRANGE", "job:42", "0", "5"}));
  EXPECT_EQ(exclusive.holder("token").expect(), Expect::text_or_nil);
}

TEST(ExclusiveProtocol, AsksHowLongTheLeaseMayLast) {
  EXPECT_EQ(words(exclusive.ask_ttl()), (Words{"PTTL", "job:42"}));
  EXPECT_EQ(exclusive.ask_ttl().expect(), Expect::integer);
}

TEST(ExclusiveProtocol, AsksForTheKind) {
  EXPECT_EQ(words(exclusive.type()), (Words{"TYPE", "job:42"}));
  EXPECT_EQ(exclusive.type().expect(), Expect::status);
}

TEST(ExclusiveProtocol, RecognisesItsTokenOnlyInAString) {
  EXPECT_TRUE(Exclusive::holds(text("token"), "token"));
  EXPECT_FALSE(Exclusive::holds(text("another"), "token"));
  EXPECT_FALSE(Exclusive::holds(nil(), "token"));
  EXPECT_FALSE(Exclusive::holds(nil(), ""));
  EXPECT_FALSE(Exclusive::holds(status("token"), "token"));
  EXPECT_FALSE(Exclusive::holds(refusal("token"), "token"));
}

TEST(ExclusiveProtocol, TakesAStringOrNothingForALock) {
  EXPECT_TRUE(Exclusive::is_lock(status("string")));
  EXPECT_TRUE(Exclusive::is_lock(status("none")));
}

TEST(ExclusiveProtocol, TakesNothingElseForALock) {
  for (const char* kind : {"list", "set", "zset", "hash", "stream", "ReJSON-RL", ""}) {
    EXPECT_FALSE(Exclusive::is_lock(status(kind))) << kind;
  }
}

TEST(ExclusiveProtocol, AssumesALockWhereTheKindIsNotTold) {
  EXPECT_TRUE(Exclusive::is_lock(refusal("NOPERM no permissions to run the 'type' command")));
}

TEST(ScriptsOfAKey, NameTheKeysThatTheyUse) {
  EXPECT_EQ(extend_script.keys_of_each(), 1U);
  EXPECT_EQ(release_script.keys_of_each(), 2U);
  EXPECT_EQ(acquire_fenced_script.keys_of_each(), 2U);
  EXPECT_EQ(release_script.effect, Script::Effect::remove);
  EXPECT_EQ(extend_script.effect, Script::Effect::expire);
  EXPECT_EQ(release_after_script.effect, Script::Effect::replace);
}

TEST(ScriptsOfAKey, DrawTheFencingTokenBeforeTheLockIsTaken) {
  const std::string lua(acquire_fenced_script.text);
  EXPECT_LT(lua.find("local token = draw({KEYS[2]}"),
            lua.find("redis.call('SET', KEYS[1], ARGV[1]"));
}

TEST(ScriptsOfAKey, SetTheKeyBeforeAnybodyIsToldThatItIsTheirs) {
  const std::string lua(release_script.text);
  EXPECT_LT(lua.find("redis.pcall('SET'"), lua.rfind("is_told(channel"));
}

TEST(ScriptsOfAKey, HaveTheHashOfTheirText) {
  for (const auto& [name, script] : test::all_scripts) {
    EXPECT_EQ(script->sha1(), Sha1(script->text).digits()) << name;
  }
}

TEST(ScriptsOfAKey, UseNoKeyThatTheyDoNotName) {
  for (const auto& [name, script] : test::all_scripts) {
    for (std::size_t i = 1; i <= 4; ++i) {
      const bool is_used =
          script->text.find("KEYS[" + std::to_string(i) + "]") != std::string_view::npos;
      EXPECT_TRUE(!is_used || i <= script->keys_of_each()) << name << " uses key " << i;
    }
  }
}

TEST(ScriptsOfAKey, OfTheFamilyHaveNoOtherForm) {
  for (const Script* script : {&acquire_fair_script, &acquire_shared_script, &release_shared_script,
                               &extend_shared_script, &stand_shared_script, &leave_shared_script,
                               &life_shared_script, &downgrade_script, &count_script}) {
    EXPECT_EQ(script->effect, Script::Effect::other);
  }
}

}  // namespace exclusive_test
}  // namespace redlatch::protocol
