#include "net/reply_reader.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/io_error.hpp"
#include "replies.hpp"

namespace redlatch::protocol {

/// For EXPECT_EQ.
static bool operator==(const Reply& a, const Reply& b) {
  return a.kind == b.kind && a.integer == b.integer && a.text == b.text && a.elements == b.elements;
}

}  // namespace redlatch::protocol

namespace redlatch::detail {
namespace reply_reader_test {

using protocol::Reply;
using test::array;
using test::integer;
using test::nil;
using test::ok;
using test::refusal;
using test::status;
using test::text;

Reply read(std::string_view bytes) {
  ReplyReader reader;
  reader.feed(bytes);
  const std::optional<Reply> reply = reader.next();
  EXPECT_TRUE(reply.has_value()) << bytes;
  EXPECT_TRUE(reader.empty()) << bytes;
  return reply.value_or(refusal("nothing was read"));
}

/// What is said about bytes that are not the protocol; nothing when they are taken for it.
std::string complaint(std::string_view bytes) {
  ReplyReader reader;
  try {
    reader.feed(bytes);
    while (reader.next()) {
    }
  } catch (const IoError& error) {
    EXPECT_EQ(error.code(), Errc::protocol_error);
    return error.what();
  }
  return "";
}

/// The bytes of an alert of TLS behind these.
Errc code_of_alert_behind(const std::string& bytes) {
  ReplyReader reader;
  try {
    reader.feed(bytes + std::string("\x15\x03\x01\0\x02\x02\x28", 7));
    while (reader.next()) {
    }
  } catch (const IoError& error) {
    return error.code();
  }
  return {};
}

TEST(ReplyReader, TakesTheFirstReplyAloneForAnAlertOfTls) {
  EXPECT_EQ(code_of_alert_behind(""), Errc::unreachable);
  EXPECT_EQ(code_of_alert_behind(":1\r\n"), Errc::protocol_error);
}

TEST(ReplyReader, ReadsEveryKind) {
  EXPECT_EQ(read("+OK\r\n"), ok());
  EXPECT_EQ(read("-ERR no\r\n"), refusal("ERR no"));
  EXPECT_EQ(read(":42\r\n"), integer(42));
  EXPECT_EQ(read(":-2\r\n"), integer(-2));
  EXPECT_EQ(read("$5\r\nhello\r\n"), text("hello"));
  EXPECT_EQ(read("$-1\r\n"), nil());
  EXPECT_EQ(read("*-1\r\n"), nil());
  EXPECT_EQ(read("*2\r\n:1\r\n+QUEUED\r\n"), array({integer(1), status("QUEUED")}));
}

TEST(ReplyReader, ReadsEmptyReplies) {
  EXPECT_EQ(read("+\r\n"), status(""));
  EXPECT_EQ(read("$0\r\n\r\n"), text(""));
  EXPECT_EQ(read("*0\r\n"), array({}));
}

TEST(ReplyReader, ReadsBytesThatLookLikeTheProtocol) {
  EXPECT_EQ(read("$6\r\n\r\n+OK\n\r\n"), text("\r\n+OK\n"));
  EXPECT_EQ(read(std::string_view("$3\r\na\0b\r\n", 9)), text(std::string("a\0b", 3)));
}

TEST(ReplyReader, ReadsTheLargestNumbers) {
  EXPECT_EQ(read(":9223372036854775807\r\n").integer, INT64_MAX);
  EXPECT_EQ(read(":-9223372036854775808\r\n").integer, INT64_MIN);
}

TEST(ReplyReader, ReadsArraysInArrays) {
  EXPECT_EQ(read("*3\r\n*2\r\n$1\r\na\r\n*1\r\n:7\r\n*-1\r\n*0\r\n"),
            array({array({text("a"), array({integer(7)})}), nil(), array({})}));
}

TEST(ReplyReader, ReadsErrorsInArrays) {
  EXPECT_EQ(read("*2\r\n-WRONGTYPE no\r\n$-1\r\n"), array({refusal("WRONGTYPE no"), nil()}));
}

TEST(ReplyReader, GivesOutOneReplyAfterTheOther) {
  ReplyReader reader;
  reader.feed("+OK\r\n:1\r\n$-1\r\n");
  EXPECT_EQ(reader.next(), ok());
  EXPECT_FALSE(reader.empty());
  EXPECT_EQ(reader.next(), integer(1));
  EXPECT_EQ(reader.next(), nil());
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(reader.next(), std::nullopt);
}

TEST(ReplyReader, ForgetsOneReplyBeforeTheNext) {
  ReplyReader reader;
  reader.feed("*1\r\n$1\r\na\r\n:5\r\n+x\r\n*0\r\n");
  EXPECT_EQ(reader.next(), array({text("a")}));
  EXPECT_EQ(reader.next(), integer(5));
  EXPECT_EQ(reader.next(), status("x"));
  EXPECT_EQ(reader.next(), array({}));
}

TEST(ReplyReader, MayBeCutAnywhere) {
  const std::string bytes =
      "+OK\r\n-ERR no\r\n:-42\r\n$5\r\nhe\r\no\r\n$-1\r\n*3\r\n*1\r\n:7\r\n$0\r\n\r\n*-1\r\n";
  const std::vector<Reply> expected{ok(),         refusal("ERR no"),
                                    integer(-42), text("he\r\no"),
                                    nil(),        array({array({integer(7)}), text(""), nil()})};
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    SCOPED_TRACE(cut);
    ReplyReader reader;
    std::vector<Reply> replies;
    for (const std::string& part : {bytes.substr(0, cut), bytes.substr(cut)}) {
      reader.feed(part);
      while (std::optional<Reply> reply = reader.next()) replies.push_back(*std::move(reply));
    }
    EXPECT_EQ(replies, expected);
    EXPECT_TRUE(reader.empty());
  }
}

TEST(ReplyReader, MayBeFedByteByByte) {
  const std::string bytes = "*2\r\n*2\r\n$3\r\nabc\r\n:12\r\n-ERR no\r\n";
  ReplyReader reader;
  for (std::size_t i = 0; i + 1 < bytes.size(); ++i) {
    reader.feed(bytes.substr(i, 1));
    EXPECT_EQ(reader.next(), std::nullopt) << i;
    EXPECT_FALSE(reader.empty()) << i;
  }
  reader.feed(bytes.substr(bytes.size() - 1));
  EXPECT_EQ(reader.next(), array({array({text("abc"), integer(12)}), refusal("ERR no")}));
  EXPECT_TRUE(reader.empty());
}

TEST(ReplyReader, IsEmptyBeforeTheFirstByte) {
  ReplyReader reader;
  EXPECT_TRUE(reader.empty());
  reader.feed("");
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(reader.next(), std::nullopt);
}

TEST(ReplyReader, RefusesWhatIsNotTheProtocol) {
  for (const char* bytes :
       {"HTTP/1.1 400 Bad Request\r\n", "hello\r\n", "\r\n", " +OK\r\n", "$x\r\n", ":x\r\n",
        ":\r\n", "*x\r\n", ":1 \r\n", "$-2\r\n", "*-2\r\n", "*1\r\nx\r\n"}) {
    EXPECT_NE(complaint(bytes), "") << bytes;
  }
}

TEST(ReplyReader, RefusesEveryKindOfResp3) {
  for (const char* bytes :
       {"_\r\n", "#t\r\n", ",1.5\r\n", "(12345678901234567890\r\n", "%1\r\n+a\r\n:1\r\n",
        "~1\r\n+a\r\n", "=7\r\ntxt:abc\r\n", ">2\r\n+a\r\n+b\r\n", "*1\r\n_\r\n", "*1\r\n%0\r\n"}) {
    EXPECT_NE(complaint(bytes), "") << bytes;
  }
}

TEST(ReplyReader, ReadsNothingMoreAfterGarbage) {
  ReplyReader reader;
  reader.feed("?\r\n");
  EXPECT_THROW(reader.next(), IoError);
  EXPECT_THROW(reader.next(), IoError);
  EXPECT_THROW(
      {
        reader.feed("+OK\r\n");
        reader.next();
      },
      IoError);
}

TEST(ReplyReader, RefusesAReplyThatIsTooLong) {
  ReplyReader reader;
  reader.feed("$2097152\r\n");
  const std::string part(std::size_t{1} << 16, 'x');
  EXPECT_THROW(
      {
        for (int i = 0; i < 32; ++i) {
          reader.feed(part);
          EXPECT_EQ(reader.next(), std::nullopt);
        }
      },
      IoError);
}

/// Each of its strings is short, and read before the next one comes.
TEST(ReplyReader, RefusesALongReplyOfShortPieces) {
  ReplyReader reader;
  reader.feed("*60000\r\n");
  const std::string piece = "$4096\r\n" + std::string(4096, 'x') + "\r\n";
  EXPECT_THROW(
      {
        for (int i = 0; i < 60'000; ++i) {
          reader.feed(piece);
          EXPECT_EQ(reader.next(), std::nullopt);
        }
      },
      IoError);
}

TEST(ReplyReader, ReadsALongReply) {
  const std::string content(std::size_t{1} << 19, 'x');
  EXPECT_EQ(read("$" + std::to_string(content.size()) + "\r\n" + content + "\r\n").text, content);
}

TEST(ReplyReader, ReadsMoreThanItMayHoldAtOnce) {
  ReplyReader reader;
  const std::string one = "$100000\r\n" + std::string(100'000, 'x') + "\r\n";
  for (int i = 0; i < 50; ++i) {
    reader.feed(one);
    EXPECT_TRUE(reader.next().has_value());
  }
}

TEST(ReplyReader, RefusesAnArrayWithTooManyElements) {
  EXPECT_NE(complaint("*65537\r\n"), "");
  EXPECT_NE(complaint("*2147483647\r\n"), "");
  EXPECT_NE(complaint("*99999999999999999999\r\n"), "");
  EXPECT_NE(complaint("*1\r\n*65537\r\n"), "");
  EXPECT_EQ(complaint("*65536\r\n"), "");
}

TEST(ReplyReader, RefusesToGoTooDeep) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "*1\r\n";
  EXPECT_NE(complaint(deep), "");
}

}  // namespace reply_reader_test
}  // namespace redlatch::detail
