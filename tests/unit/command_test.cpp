#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/exclusive.hpp>

#include "replies.hpp"

namespace redlatch::protocol {
namespace command_test {

using namespace std::chrono_literals;
using test::array;
using test::integer;
using test::nil;
using test::ok;
using test::refusal;
using test::status;
using test::text;

static_assert(std::is_trivially_copyable_v<Argument>);
static_assert(std::is_trivially_copyable_v<Command>);

TEST(Argument, IsTextOrANumber) {
  EXPECT_EQ(Argument("text").text(), "text");
  EXPECT_EQ(Argument(std::string("text")).text().size(), 4U);
  EXPECT_EQ(Argument(std::int64_t{0}).text(), "0");
  EXPECT_EQ(Argument(std::int64_t{-42}).text(), "-42");
  EXPECT_EQ(Argument(1500ms).text(), "1500");
  EXPECT_EQ(Argument("").text(), "");
}

TEST(Argument, HasRoomForEveryNumber) {
  using Limits = std::numeric_limits<std::int64_t>;
  EXPECT_EQ(Argument(Limits::max()).text(), "9223372036854775807");
  EXPECT_EQ(Argument(Limits::min()).text(), "-9223372036854775808");
}

TEST(Argument, KeepsItsNumberWhenItIsCopied) {
  const auto original = std::make_unique<Argument>(std::int64_t{77});
  const Argument copy = *original;
  EXPECT_EQ(copy.text(), "77");
  EXPECT_NE(copy.text().data(), original->text().data());
}

TEST(Command, KnowsWhetherItChangesData) {
  const auto changes = [](const char* name) {
    return Command(Expect::anything, name, "key").changes_data();
  };
  for (const char* name : {"SET", "DELEX", "DELIFEQ", "EXEC"}) EXPECT_TRUE(changes(name)) << name;
  for (const char* name : {"GET", "PTTL", "TYPE", "WATCH", "UNWATCH", "MULTI", "PING", "AUTH",
                           "SELECT", "CLIENT", "SCRIPT", "COMMAND"}) {
    EXPECT_FALSE(changes(name)) << name;
  }
}

TEST(Command, ChangesDataWhenItCallsAScript) {
  EXPECT_TRUE(Command(release_script, "key", "token").changes_data());
  EXPECT_TRUE(Command(extend_script, "key", "token", 5s / 1ms).changes_data());
}

TEST(OwnedCommand, KeepsItsTexts) {
  std::string key = "a key that is longer than a small string";
  std::string token = "a token that is longer than a small string";
  const OwnedCommand owned(Command(release_script, key, token));
  key.assign(key.size(), 'x');
  token.assign(token.size(), 'x');
  const Command command = owned.view();
  EXPECT_EQ(command.argument(0), "a key that is longer than a small string");
  EXPECT_EQ(command.argument(1), "a token that is longer than a small string");
  EXPECT_EQ(command.arguments().size(), 2U);
  EXPECT_EQ(command.script(), &release_script);
  EXPECT_EQ(command.expect(), Expect::integer);
}

TEST(OwnedCommand, KeepsEmptyTextsAndNumbers) {
  const OwnedCommand owned(Command(Expect::ok_or_nil, "SET", "", 12ms));
  const Command command = owned.view();
  EXPECT_EQ(command.argument(1), "");
  EXPECT_EQ(command.argument(2), "12");
  EXPECT_EQ(command.expect(), Expect::ok_or_nil);
}

TEST(Expect, TakesAnErrorForAnAnswerToAnything) {
  for (const Expect expect : {Expect::ok_or_nil, Expect::integer, Expect::status,
                              Expect::text_or_nil, Expect::array_or_nil, Expect::anything}) {
    EXPECT_TRUE(answers(expect, refusal("ERR no")));
  }
}

TEST(Expect, KnowsTheAnswerToASet) {
  EXPECT_TRUE(answers(Expect::ok_or_nil, ok()));
  EXPECT_TRUE(answers(Expect::ok_or_nil, nil()));
  for (const Reply& reply : {status("PONG"), text("OK"), integer(1), array({})}) {
    EXPECT_FALSE(answers(Expect::ok_or_nil, reply));
  }
}

TEST(Expect, KnowsTheAnswerToAScript) {
  EXPECT_TRUE(answers(Expect::integer, integer(0)));
  for (const Reply& reply : {ok(), nil(), text("1"), array({})}) {
    EXPECT_FALSE(answers(Expect::integer, reply));
  }
}

TEST(Expect, KnowsAStatus) {
  EXPECT_TRUE(answers(Expect::status, status("string")));
  for (const Reply& reply : {nil(), text("string"), integer(1), array({})}) {
    EXPECT_FALSE(answers(Expect::status, reply));
  }
}

TEST(Expect, KnowsTheAnswerToAGet) {
  EXPECT_TRUE(answers(Expect::text_or_nil, text("")));
  EXPECT_TRUE(answers(Expect::text_or_nil, nil()));
  for (const Reply& reply : {ok(), integer(1), array({})}) {
    EXPECT_FALSE(answers(Expect::text_or_nil, reply));
  }
}

TEST(Expect, KnowsTheAnswerToAnExec) {
  EXPECT_TRUE(answers(Expect::array_or_nil, array({integer(1)})));
  EXPECT_TRUE(answers(Expect::array_or_nil, nil()));
  for (const Reply& reply : {ok(), integer(1), text("")}) {
    EXPECT_FALSE(answers(Expect::array_or_nil, reply));
  }
}

TEST(Expect, MayBeAnything) {
  for (const Reply& reply : {ok(), nil(), integer(1), text(""), array({})}) {
    EXPECT_TRUE(answers(Expect::anything, reply));
  }
}

}  // namespace command_test
}  // namespace redlatch::protocol
