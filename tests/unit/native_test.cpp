#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/native.hpp>

#include "replies.hpp"

namespace redlatch::protocol {
namespace native_test {

using namespace std::chrono_literals;
using test::array;
using test::integer;
using test::nil;
using test::refusal;
using test::text;

using Words = std::vector<std::string>;

Words words(const Command& command) {
  Words all;
  for (const Argument& argument : command.arguments()) all.emplace_back(argument.text());
  return all;
}

const Exclusive exclusive("job");
const Command release_call = exclusive.release("token");
const Command extend_call = exclusive.extend("token", 30s);
const Command release_after_call = exclusive.release_after("tok-en label", 3s);

/// Every set of abilities that there can be.
std::vector<Abilities> all_abilities() {
  std::vector<Abilities> all;
  for (unsigned bits = 0; bits < 16; ++bits) {
    all.push_back({.scripts = (bits & 1) != 0,
                   .delex = (bits & 2) != 0,
                   .delifeq = (bits & 4) != 0,
                   .set_ifeq = (bits & 8) != 0});
  }
  return all;
}

TEST(ScriptsOfAKey, AreRefusedWhenTheHarmlessOneIsAndAnotherCommandIsNot) {
  const Reply odd = refusal("ERR command not support for your account");
  EXPECT_TRUE(are_scripts_refused(odd, odd, text("")));
  EXPECT_TRUE(are_scripts_refused(integer(1), odd, text("")));
  EXPECT_TRUE(are_scripts_refused(odd, refusal("NOSCRIPT no"), text("")));
  EXPECT_TRUE(are_scripts_refused(odd, odd, refusal("WRONGTYPE no")));
  EXPECT_TRUE(are_scripts_refused(odd, odd, refusal("NOPERM No permissions to access a key")));
}

TEST(ScriptsOfAKey, AreNotRefusedByAServerThatRunsThemOrIsOutOfOrder) {
  const Reply odd = refusal("ERR no upstream host");
  EXPECT_FALSE(are_scripts_refused(integer(1), integer(1), text("")));
  EXPECT_FALSE(are_scripts_refused(odd, odd, odd));
  EXPECT_FALSE(are_scripts_refused(refusal("LOADING no"), refusal("LOADING no"), text("")));
  EXPECT_FALSE(are_scripts_refused(integer(1), refusal("NOSCRIPT no"), text("")));
}

TEST(NativeFormChoice, IsAScriptWhereScriptsRun) {
  EXPECT_EQ(form_for(release_script, {}), Form::script);
  EXPECT_EQ(form_for(extend_script, {}), Form::script);
  const Abilities everything{.scripts = true, .delex = true, .delifeq = true, .set_ifeq = true};
  EXPECT_EQ(form_for(release_script, everything), Form::script);
}

TEST(NativeFormChoice, OfAReleaseIsTheServersOwnConditionalDelete) {
  EXPECT_EQ(form_for(release_script, {.scripts = false, .delex = true}), Form::delex);
  EXPECT_EQ(form_for(release_script, {.scripts = false, .delifeq = true}), Form::delifeq);
  EXPECT_EQ(form_for(release_script, {.scripts = false, .delex = true, .delifeq = true}),
            Form::delex);
}

TEST(NativeFormChoice, OfAReleaseIsNotAConditionalSet) {
  EXPECT_EQ(form_for(release_script, {.scripts = false, .set_ifeq = true}), Form::watch);
}

TEST(NativeFormChoice, OfAnExtensionIsAConditionalSet) {
  EXPECT_EQ(form_for(extend_script, {.scripts = false, .set_ifeq = true}), Form::set_ifeq);
}

TEST(NativeFormChoice, OfAReleaseThatLeavesTheKeyIsAConditionalSet) {
  EXPECT_EQ(form_for(release_after_script,
                     {.scripts = false, .delex = true, .delifeq = true, .set_ifeq = true}),
            Form::set_ifeq);
  EXPECT_EQ(form_for(release_after_script, {.scripts = false, .delex = true}), Form::watch);
}

TEST(NativeFormChoice, OfAnExtensionIsNotADelete) {
  EXPECT_EQ(form_for(extend_script, {.scripts = false, .delex = true, .delifeq = true}),
            Form::watch);
}

TEST(NativeFormChoice, IsAWatchedTransactionWhereNothingElseWorks) {
  EXPECT_EQ(form_for(release_script, {.scripts = false}), Form::watch);
  EXPECT_EQ(form_for(extend_script, {.scripts = false}), Form::watch);
}

TEST(NativeFormChoice, IsDroppedOneByOneDownToTheLast) {
  for (const Script* script : {&release_script, &extend_script, &release_after_script}) {
    for (Abilities abilities : all_abilities()) {
      int steps = 0;
      for (Form form = form_for(*script, abilities); drop(form, abilities);) {
        const Form next = form_for(*script, abilities);
        EXPECT_NE(next, form);
        form = next;
        ASSERT_LT(++steps, 5);
      }
      EXPECT_EQ(form_for(*script, abilities), Form::watch);
    }
  }
}

TEST(NativeFormChoice, IsAScriptForWhatOnlyThatCanDo) {
  for (const Abilities& abilities : all_abilities()) {
    EXPECT_EQ(form_for(acquire_fenced_script, abilities), Form::script);
  }
}

TEST(NativeFormChoice, IsNotDroppedWithTheOthers) {
  Abilities abilities{.scripts = false, .delex = true, .delifeq = true, .set_ifeq = true};
  EXPECT_TRUE(drop(Form::delex, abilities));
  EXPECT_EQ(form_for(release_script, abilities), Form::delifeq);
  EXPECT_EQ(form_for(extend_script, abilities), Form::set_ifeq);
}

TEST(NativeFormChoice, HasNothingBelowWatch) {
  Abilities abilities{.scripts = true};
  EXPECT_FALSE(drop(Form::watch, abilities));
  EXPECT_TRUE(abilities.scripts);
}

TEST(Abilities, AreAskedForByName) {
  EXPECT_EQ(words(ask_abilities()), (Words{"COMMAND", "INFO", "delex", "delifeq"}));
}

TEST(Abilities, AreReadFromWhatTheServerNames) {
  const Reply known = array({text("delex"), integer(-4)});
  const Abilities redis = read_abilities(array({known, nil()}));
  EXPECT_TRUE(redis.delex && redis.set_ifeq);
  EXPECT_FALSE(redis.delifeq || redis.scripts);
  const Abilities valkey = read_abilities(array({nil(), known}));
  EXPECT_TRUE(valkey.delifeq && valkey.set_ifeq);
  EXPECT_FALSE(valkey.delex || valkey.scripts);
  const Abilities both = read_abilities(array({known, known}));
  EXPECT_TRUE(both.delex && both.delifeq && both.set_ifeq);
}

TEST(Abilities, AreNoneWhereTheServerKnowsNeitherOrWillNotSay) {
  for (const Reply& reply :
       {array({nil(), nil()}), array({}), array({array({}), array({})}), nil(), integer(2),
        refusal("NOPERM this user has no permissions to run the 'command|info' command")}) {
    const Abilities abilities = read_abilities(reply);
    EXPECT_FALSE(abilities.scripts || abilities.delex || abilities.delifeq || abilities.set_ifeq);
  }
}

TEST(NativeForm, DelexNamesItsCondition) {
  const Command command = native_command(Form::delex, release_call);
  EXPECT_EQ(words(command), (Words{"DELEX", "job", "IFEQ", "token"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(NativeForm, DelifeqNamesTheToken) {
  const Command command = native_command(Form::delifeq, release_call);
  EXPECT_EQ(words(command), (Words{"DELIFEQ", "job", "token"}));
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(NativeForm, SetNamesItsConditionAndTheTtl) {
  const Command command = native_command(Form::set_ifeq, extend_call);
  EXPECT_EQ(words(command), (Words{"SET", "job", "token", "IFEQ", "token", "PX", "30000"}));
  EXPECT_EQ(command.expect(), Expect::ok_or_nil);
}

TEST(NativeForm, SetLeavesAValueThatIsNoTokenAnyMore) {
  const Command command = native_command(Form::set_ifeq, release_after_call);
  EXPECT_EQ(words(command),
            (Words{"SET", "job", "en label", "IFEQ", "tok-en label", "PX", "3000"}));
  EXPECT_EQ(command.expect(), Expect::ok_or_nil);
}

TEST(NativeForm, NeverDeletesWithoutACondition) {
  for (const Abilities& abilities : all_abilities()) {
    for (const Command* call : {&release_call, &extend_call}) {
      const Form form = form_for(*call->script(), abilities);
      if (form == Form::script || form == Form::watch) continue;
      const Words said = words(native_command(form, *call));
      EXPECT_NE(said[0], "DEL");
      if (said[0] == "DELEX") {
        ASSERT_EQ(said.size(), 4U);
        EXPECT_EQ(said[2], "IFEQ");
      }
      EXPECT_EQ(said[1], "job");
      EXPECT_NE(std::find(said.begin() + 2, said.end(), "token"), said.end());
    }
  }
}

TEST(NativeForm, IsNotInScriptForm) {
  EXPECT_EQ(native_command(Form::delex, release_call).script(), nullptr);
  EXPECT_EQ(guarded_change(release_call).script(), nullptr);
}

TEST(NativeForm, ChangesWhatWatchGuards) {
  EXPECT_EQ(words(guarded_change(release_call)), (Words{"DEL", "job"}));
  EXPECT_EQ(words(guarded_change(extend_call)), (Words{"PEXPIRE", "job", "30000"}));
  EXPECT_EQ(words(guarded_change(release_after_call)),
            (Words{"SET", "job", "en label", "XX", "PX", "3000"}))
      << "an absent key stays absent";
}

}  // namespace native_test
}  // namespace redlatch::protocol
