#include "net/sentinel_view.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/io_error.hpp"
#include "complaint.hpp"

namespace redlatch::test::sentinel_view_test {
namespace {

using namespace std::chrono_literals;
using detail::SentinelAnswer;
using detail::SentinelView;
using detail::TimePoint;
using protocol::Reply;

const Address first{"10.0.0.1", 26379};
const Address second{"10.0.0.2", 26379};
const Address third{"10.0.0.3", 26379};
const Address one{"10.0.1.1", 6379};
const Address other{"10.0.1.2", 6379};

TimePoint at(std::chrono::milliseconds time) { return TimePoint{} + 1h + time; }

SentinelAnswer names(const Address& primary, std::uint64_t epoch) {
  return {.primary = primary, .epoch = epoch};
}

TEST(SentinelView, HasNoPrimaryBeforeAnAnswerNamesOne) {
  SentinelView view({first, second});
  EXPECT_FALSE(view.primary());
  view.take(first, {.services = {"orders"}}, at(0ms), at(0ms));
  view.note_failure(second, at(0ms));
  EXPECT_FALSE(view.primary());
  view.take(second, names(one, 1), at(1ms), at(1ms));
  EXPECT_EQ(view.primary(), one);
}

TEST(SentinelView, BelievesTheNewestConfigurationWhateverTheOrderOfTheAnswers) {
  for (const bool newest_first : {true, false}) {
    SentinelView view({first, second, third});
    if (newest_first) view.take(first, names(other, 8), at(0ms), at(0ms));
    view.take(second, names(one, 7), at(1ms), at(1ms));
    view.take(third, names(one, 7), at(2ms), at(2ms));
    if (!newest_first) view.take(first, names(other, 8), at(3ms), at(3ms));
    EXPECT_EQ(view.primary(), other);
  }
}

TEST(SentinelView, GoesNotBackToAFormerPrimaryThatASentinelWithoutNewsNames) {
  SentinelView view({first, second});
  view.take(first, names(other, 8), at(0ms), at(0ms));
  view.note_failure(first, at(10ms));
  view.take(second, names(one, 7), at(20ms), at(20ms));
  EXPECT_EQ(view.primary(), other);
}

TEST(SentinelView, BelievesSentinelsThatWereSetUpAnewAfterAMinute) {
  SentinelView view({first, second});
  view.take(first, names(other, 8), at(0ms), at(0ms));
  view.take(second, names(one, 0), at(100s), at(100s));
  view.note_failure(first, at(100s));
  EXPECT_EQ(view.primary(), other);
  view.note_failure(first, at(159s));
  EXPECT_EQ(view.primary(), other);
  view.note_failure(first, at(160s));
  EXPECT_EQ(view.primary(), one);
}

/// A client that was idle has its answer from long ago.
TEST(SentinelView, RemembersASentinelThatCouldNotBeAskedOnce) {
  SentinelView view({first, second});
  view.take(first, names(other, 8), at(0ms), at(0ms));
  view.note_failure(first, at(100s));
  view.take(second, names(one, 7), at(100s), at(100s));
  view.take(first, names(other, 8), at(101s), at(101s));
  view.note_failure(first, at(200s));
  EXPECT_EQ(view.primary(), other);
}

TEST(SentinelView, BelievesTheLastAnswerOfOneConfiguration) {
  SentinelView view({first, second});
  view.take(first, names(one, 8), at(0ms), at(0ms));
  view.take(second, names(other, 8), at(1ms), at(1ms));
  EXPECT_EQ(view.primary(), other);
}

/// One of them announces addresses and another one host names, for example.
TEST(SentinelView, GoesNotBackAndForthBetweenSentinelsThatRepeatThemselves) {
  SentinelView view({first, second});
  view.take(first, names(one, 8), at(0ms), at(0ms));
  view.take(second, names(other, 8), at(1ms), at(1ms));
  for (int i = 1; i < 5; ++i) {
    view.take(first, names(one, 8), at(i * 10ms), at(i * 10ms));
    EXPECT_EQ(view.primary(), other);
    view.take(second, names(other, 8), at(i * 10ms), at(i * 10ms));
    EXPECT_EQ(view.primary(), other);
  }
  view.take(first, names(one, 9), at(50ms), at(50ms));
  EXPECT_EQ(view.primary(), one);
}

TEST(SentinelView, IgnoresAnAnswerThatALaterOneHasOvertaken) {
  SentinelView view({first});
  view.take(first, names(other, 8), at(10ms), at(20ms));
  view.take(first, names(one, 7), at(0ms), at(30ms));
  view.take(first, names(one, 8), at(0ms), at(30ms));
  view.take(first, {.services = {"invoices"}}, at(0ms), at(30ms));
  EXPECT_EQ(view.primary(), other);
  view.take(first, names(one, 9), at(0ms), at(40ms));
  EXPECT_EQ(view.primary(), one);
}

TEST(SentinelView, KeepsTheLastPrimaryWhenNoSentinelNamesOne) {
  SentinelView view({first});
  view.take(first, names(one, 8), at(0ms), at(0ms));
  view.take(first, {}, at(1ms), at(1ms));
  EXPECT_EQ(view.primary(), one);
}

TEST(SentinelView, LearnsOtherSentinelsAndForgetsThoseThatNoneKnowsAnyMore) {
  SentinelView view({first});
  SentinelAnswer answer = names(one, 1);
  answer.others = {second, third, second};
  view.take(first, answer, at(0ms), at(0ms));
  EXPECT_EQ(view.sentinels(), (std::vector{first, second, third}));
  answer.others = {third};
  view.take(first, answer, at(1ms), at(1ms));
  EXPECT_EQ(view.sentinels(), (std::vector{first, third}));
  // A late answer of one that has left does not count.
  view.take(second, names(other, 9), at(2ms), at(2ms));
  EXPECT_EQ(view.primary(), one);
}

TEST(SentinelView, KeepsTheSentinelsOfTheUrl) {
  SentinelView view({first, second});
  view.take(first, names(one, 1), at(0ms), at(0ms));
  EXPECT_EQ(view.sentinels(), (std::vector{first, second}));
}

TEST(SentinelView, LearnsABoundedNumberOfSentinels) {
  SentinelView view({first});
  SentinelAnswer answer = names(one, 1);
  for (int i = 0; i < 1000; ++i) answer.others.push_back({"s" + std::to_string(i), 1});
  view.take(first, answer, at(0ms), at(0ms));
  EXPECT_EQ(view.sentinels().size(), 1 + SentinelView::max_learned);
}

Reply text(std::string value) { return {.kind = Reply::Kind::string, .text = std::move(value)}; }

Reply list(const std::vector<std::string>& values) {
  Reply reply{.kind = Reply::Kind::array};
  for (const std::string& value : values) reply.elements.push_back(text(value));
  return reply;
}

Reply list_of(std::vector<Reply> elements) {
  return {.kind = Reply::Kind::array, .elements = std::move(elements)};
}

TEST(SentinelReplies, SayWhereThePrimaryIs) {
  EXPECT_EQ(detail::read_primary(list({"10.0.1.1", "6379"})), one);
  EXPECT_EQ(detail::read_primary(list({"fe80::1", "1"})), (Address{"fe80::1", 1}));
  EXPECT_FALSE(detail::read_primary(Reply{}));
}

TEST(SentinelReplies, AreCheckedBeforeTheyAreUsed) {
  const std::vector<std::vector<std::string>> bad{{},
                                                  {"h"},
                                                  {"h", "1", "2"},
                                                  {"", "1"},
                                                  {"h", ""},
                                                  {"h", "x"},
                                                  {"h", "1x"},
                                                  {"h", "65536"},
                                                  {"h", "0"},
                                                  {"h", "-1"},
                                                  {"a b", "1"},
                                                  {"h\r\n", "1"},
                                                  {"h", " 1"},
                                                  {std::string(256, 'h'), "1"},
                                                  {"h", "99999999999999999999"}};
  for (const auto& words : bad) {
    EXPECT_NE(complaint([&] { detail::read_primary(list(words)); }), "") << words.size();
  }
  EXPECT_NE(complaint([] { detail::read_epoch(list({"config-epoch", "x"})); }), "");
  EXPECT_NE(complaint([] { detail::read_epoch(list({"config-epoch"})); }), "");
  EXPECT_NE(complaint([] { detail::read_epoch(Reply{}); }), "");
  EXPECT_NE(complaint([] { detail::read_sentinels(list_of({list({"ip", "h"})})); }), "");
  EXPECT_NE(complaint([] { detail::read_services(list({"orders"})); }), "");
}

TEST(SentinelReplies, HaveFieldsInAnyOrder) {
  EXPECT_EQ(detail::read_epoch(list({"name", "orders", "config-epoch", "18446744073709551615"})),
            UINT64_MAX);
  EXPECT_EQ(detail::read_sentinels(list_of({list({"port", "26379", "x", "y", "ip", "10.0.0.2"})})),
            std::vector{second});
  EXPECT_TRUE(detail::read_sentinels(Reply{}).empty());
  EXPECT_EQ(detail::read_sentinels(list_of(
                {list({"ip", "", "port", "26379"}), list({"ip", "10.0.0.2", "port", "26379"})})),
            std::vector{second});
  EXPECT_EQ(detail::read_services(list_of({list({"name", "a"}), list({"name", "b"})})),
            (std::vector<std::string>{"a", "b"}));
}

TEST(SentinelReplies, NameTheServerThatIsPromoted) {
  const Address promoted{.host = "10.0.1.2", .port = 6380};
  EXPECT_EQ(detail::read_promoted("orders 10.0.1.1 6379 10.0.1.2 6380"), promoted);
  EXPECT_EQ(detail::read_promoted("slave h:1 10.0.1.2 6380 @ orders 10.0.1.1 6379"), promoted);
  for (const char* message : {"", "orders", "orders 10.0.1.1 6379 10.0.1.2 x", "a b c d e f g h",
                              "slave h:1 10.0.1.2 65536 @ orders 10.0.1.1 6379"}) {
    EXPECT_EQ(detail::read_promoted(message), std::nullopt) << message;
  }
}

TEST(SentinelReplies, NameAFailoverOfTheService) {
  EXPECT_TRUE(detail::is_about("orders", "orders 10.0.1.1 6379 10.0.1.2 6379"));
  EXPECT_TRUE(detail::is_about("orders", "slave h:1 h 1 @ orders 10.0.1.1 6379"));
  EXPECT_FALSE(detail::is_about("orders", "orders2 10.0.1.1 6379 10.0.1.2 6379"));
  EXPECT_FALSE(detail::is_about("orders", "my-orders 10.0.1.1 6379"));
  EXPECT_FALSE(detail::is_about("orders", ""));
  EXPECT_TRUE(detail::is_about("orders", "x orders"));
}

}  // namespace
}  // namespace redlatch::test::sentinel_view_test
