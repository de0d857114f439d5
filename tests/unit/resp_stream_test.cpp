#include "net/resp_stream.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "base/io_error.hpp"
#include "multiplexer_fixture.hpp"

namespace redlatch::test::resp_stream_test {
namespace {

using detail::RespStream;
using detail::ScriptCall;
using protocol::Command;
using protocol::Expect;

constexpr auto by_hash = ScriptCall::by_hash;

const Command get(Expect::text_or_nil, "GET", "job");
const Command touch(Expect::integer, "EXISTS", "job");

/// What is to be sent next, all of which is sent.
std::vector<Words> sent(RespStream& stream) {
  const std::string output(stream.output());
  stream.sent(output.size());
  return commands_in(output);
}

std::optional<std::int64_t> number(RespStream& stream) {
  const auto reply = stream.next(Expect::integer);
  return reply ? std::optional(reply->integer) : std::nullopt;
}

TEST(RespStreamAsking, GoesInFrontOfTheCommandThatItIsFor) {
  RespStream stream;
  stream.append(get);
  stream.append(touch, by_hash, true);
  stream.append(get);
  EXPECT_EQ(sent(stream),
            (std::vector<Words>{{"GET", "job"}, {"ASKING"}, {"EXISTS", "job"}, {"GET", "job"}}));
  EXPECT_EQ(stream.owed(), 4U);
}

TEST(RespStreamAsking, GoesInFrontOfAScript) {
  const protocol::Exclusive exclusive("job");
  for (const auto call : {ScriptCall::by_hash, ScriptCall::by_text}) {
    RespStream stream;
    stream.append(exclusive.release("token"), call, true);
    const std::vector<Words> commands = sent(stream);
    ASSERT_EQ(commands.size(), 2U);
    EXPECT_EQ(commands[0], Words{"ASKING"});
    EXPECT_EQ(commands[1].front(), call == ScriptCall::by_hash ? "EVALSHA" : "EVAL");
  }
}

TEST(RespStreamAsking, HasAReplyThatIsSkipped) {
  RespStream stream;
  stream.append(touch, by_hash, true);
  sent(stream);
  stream.received("+OK\r\n:7\r\n");
  EXPECT_EQ(number(stream), 7);
  EXPECT_EQ(stream.owed(), 0U);
  EXPECT_TRUE(stream.in_sync());
}

TEST(RespStreamAsking, IsSkippedHoweverTheBytesAreCut) {
  const std::string replies = "$1\r\na\r\n+OK\r\n:7\r\n$1\r\nb\r\n";
  for (std::size_t cut = 0; cut <= replies.size(); ++cut) {
    RespStream stream;
    stream.append(get);
    stream.append(touch, by_hash, true);
    stream.append(get);
    sent(stream);
    std::vector<std::string> texts;
    const auto read = [&](std::string_view bytes) {
      stream.received(bytes);
      while (stream.owed() > 0) {
        const bool is_number = texts.size() == 1;
        const auto reply = stream.next(is_number ? Expect::integer : Expect::text_or_nil);
        if (!reply) return;
        texts.push_back(is_number ? std::to_string(reply->integer) : reply->text);
      }
    };
    read(std::string_view(replies).substr(0, cut));
    EXPECT_EQ(stream.in_sync(), cut == replies.size()) << cut;
    read(std::string_view(replies).substr(cut));
    EXPECT_EQ(texts, (std::vector<std::string>{"a", "7", "b"})) << cut;
    EXPECT_TRUE(stream.in_sync()) << cut;
  }
}

TEST(RespStreamAsking, IsSkippedInTheOrderOfTheCommands) {
  RespStream stream;
  stream.append(touch, by_hash, true);
  stream.append(touch, by_hash, true);
  stream.append(touch);
  stream.append(touch);
  stream.append(touch, by_hash, true);
  stream.append(touch);
  sent(stream);
  stream.received("+OK\r\n:1\r\n+OK\r\n:2\r\n:3\r\n:4\r\n+OK\r\n:5\r\n:6\r\n");
  for (const int one : {1, 2, 3, 4, 5, 6}) EXPECT_EQ(number(stream), one);
  EXPECT_TRUE(stream.in_sync());
}

/// Some of the replies in front of it have come when it is appended.
TEST(RespStreamAsking, IsSkippedBehindRepliesThatAreStillOwed) {
  RespStream stream;
  stream.append(touch, by_hash, true);
  stream.append(touch);
  stream.append(touch);
  sent(stream);
  stream.received("+OK\r\n:1\r\n:2\r\n");
  EXPECT_EQ(number(stream), 1);
  stream.append(touch, by_hash, true);
  EXPECT_EQ(number(stream), 2);
  stream.append(touch, by_hash, true);
  sent(stream);
  stream.received(":3\r\n+OK\r\n");
  EXPECT_EQ(number(stream), 3);
  EXPECT_EQ(number(stream), std::nullopt);
  EXPECT_FALSE(stream.in_sync());
  EXPECT_EQ(stream.owed(), 3U) << "the reply to one ASKING has come";
  stream.received(":4\r\n+OK\r\n:5\r\n");
  EXPECT_EQ(number(stream), 4);
  EXPECT_EQ(number(stream), 5);
  EXPECT_TRUE(stream.in_sync());
}

/// The command behind it is answered MOVED then.
TEST(RespStreamAsking, IsSkippedAlsoWhenItIsRefused) {
  RespStream stream;
  stream.append(touch, by_hash, true);
  sent(stream);
  stream.received("-ERR This instance has cluster support disabled\r\n-MOVED 1 h:1\r\n");
  const auto reply = stream.next(Expect::integer);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->text, "MOVED 1 h:1");
  EXPECT_TRUE(stream.in_sync());
}

TEST(RespStreamAsking, IsNotInSyncBehindAReplyTooMany) {
  RespStream stream;
  stream.append(touch, by_hash, true);
  sent(stream);
  stream.received("+OK\r\n:1\r\n:2\r\n");
  EXPECT_EQ(number(stream), 1);
  EXPECT_EQ(stream.owed(), 0U);
  EXPECT_FALSE(stream.in_sync());
}

TEST(RespStreamAsking, DoesNotHideAReplyOfAnotherKind) {
  RespStream stream;
  stream.append(touch, by_hash, true);
  sent(stream);
  stream.received("+OK\r\n+OK\r\n");
  EXPECT_THROW(stream.next(Expect::integer), detail::IoError);
}

/// What a proxy closes a connection at.
TEST(RespStreamAsking, IsNamedAmongTheCommandsWithoutAReply) {
  const detail::IoError closed(Errc::unreachable, "closed");
  RespStream stream;
  stream.append(get);
  stream.append(touch, by_hash, true);
  sent(stream);
  EXPECT_STREQ(stream.naming_owed(closed).what(),
               "closed, before an answer to GET, ASKING, EXISTS");
  stream.received("$-1\r\n+OK\r\n");
  stream.next(Expect::text_or_nil);
  EXPECT_STREQ(stream.naming_owed(closed).what(), "closed, before an answer to ASKING, EXISTS");
  EXPECT_EQ(number(stream), std::nullopt);
  EXPECT_STREQ(stream.naming_owed(closed).what(), "closed, before an answer to EXISTS");
  stream.received(":1\r\n");
  EXPECT_EQ(number(stream), 1);
  EXPECT_STREQ(stream.naming_owed(closed).what(), "closed");
}

}  // namespace
}  // namespace redlatch::test::resp_stream_test
