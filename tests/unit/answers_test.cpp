#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/detail/answers.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/tenure.hpp>
#include <redlatch/protocol/exclusive.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace answers_test {

using detail::Answers;
using protocol::Verdict;

const protocol::Exclusive protocol_of_job("job");

/// What servers answer to a SET, or to a script.
class Question {
 public:
  explicit Question(const std::vector<Answer>& answers, bool script = false)
      : executor(fake_servers(answers)),
        command(script ? protocol_of_job.extend("token", 1s)
                       : protocol_of_job.acquire("token", 1s)),
        answers_(*executor, {.key = "job", .commands = {&command, 1}, .undo = nullptr},
                 Connecting::on_top) {}

  const Answers* operator->() const { return &answers_; }
  Verdict verdict() const { return answers_.verdict(protocol::verdict); }

  Fake executor;

 private:
  protocol::Command command;
  Answers answers_;
};

Verdict verdict(std::string_view letters) { return Question(servers(letters)).verdict(); }

TEST(Answers, AreThatOfTheOnlyServer) {
  EXPECT_EQ(verdict("y"), Verdict::yes);
  EXPECT_EQ(verdict("n"), Verdict::no);
  for (const char* letters : {"e", "a", "d", "s"}) EXPECT_EQ(verdict(letters), Verdict::refused);
}

TEST(Answers, AreYesWhenAMajoritySaysYes) {
  for (const char* letters : {"yy", "yyn", "yny", "nyy", "yya", "dyy", "yyyn", "yyynn", "yyyad",
                              "ayeyy", "yyyyy", "yys"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(verdict(letters), Verdict::yes);
  }
}

TEST(Answers, AreNoWhenNoMajorityIsLeft) {
  for (const char* letters :
       {"yn", "nn", "na", "ynn", "nna", "nnn", "yynn", "nnaa", "yynnn", "nnnad", "dynnn"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(verdict(letters), Verdict::no);
  }
}

TEST(Answers, AreRefusedWhenTooFewHaveSpoken) {
  for (const char* letters : {"ya", "yan", "yee", "aaa", "nad", "yyae", "ynaa", "yynaa", "yynnd",
                              "nnaae", "eeeee", "yysss"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(verdict(letters), Verdict::refused);
  }
}

TEST(Answers, DoNotCountAReplyBeforeTheFailure) {
  Answer half = in_doubt();
  half.replies = {ok()};
  const Question question({half});
  EXPECT_EQ(question.verdict(), Verdict::refused);
}

TEST(Answers, AreReadByTheCaller) {
  const Question question({says(text("a")), says(text("b")), says(text("a"))});
  const auto is_a = [](const protocol::Reply& reply) {
    return reply.text == "a" ? Verdict::yes : Verdict::no;
  };
  EXPECT_EQ(question->verdict(is_a), Verdict::yes);
}

TEST(Answers, PutTheSameQuestionToEveryServer) {
  const Question question(servers("yyy"));
  ASSERT_EQ(question.executor->calls.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(question.executor->calls[i].server, i);
    EXPECT_EQ(question.executor->said()[i], "SET job token NX PX 1000");
  }
}

TEST(Answers, AreEnoughWhenEveryServerHasSpokenOrFailed) {
  const Question question(servers("yad"));
  EXPECT_EQ(question.executor->found_enough, (std::vector<bool>{false, false, false, true}));
}

TEST(Answers, AreEnoughWhenNoOtherCanMakeADifference) {
  for (const char* letters : {"yys", "nns", "yyyss", "nnnss", "aas", "aaass", "ns", "yeas"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters)).executor->found_enough.back());
  }
}

TEST(Answers, AreNotEnoughWhileASilentServerMayDecide) {
  for (const char* letters : {"s", "ys", "yns", "yas", "nas", "yynns", "nnass", "sss"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters)).executor->found_enough.back());
  }
}

TEST(Answers, AreCompleteWhenEveryServerHasAnswered) {
  EXPECT_TRUE(Question(servers("yne"))->complete());
  EXPECT_FALSE(Question(servers("yns"))->complete());
  EXPECT_FALSE(Question(servers("yna"))->complete());
}

TEST(Answers, MayHaveActedWhenOneOfSeveralServersMayHave) {
  for (const char* letters : {"nns", "nnd"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->may_have_acted());
  }
}

TEST(Answers, HaveActedWhenAServerSaidYes) {
  for (const char* letters : {"y", "yn", "ny", "aay", "nnnny"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->may_have_acted());
  }
}

TEST(Answers, HaveNotActedWhenNoServerSaidYes) {
  for (const char* letters : {"n", "e", "nne", "aa"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters))->may_have_acted());
  }
}

TEST(Answers, LeaveTheDoubtOfABrokenConnectionToTheExecutor) {
  EXPECT_FALSE(Question(servers("d"))->may_have_acted());
}

TEST(Answers, MayHaveActedWhenAScriptFailed) {
  const std::vector<Answer> failed{
      says(refusal("OOM not allowed script: f00, on @user_script:1."))};
  EXPECT_TRUE(Question(failed, true)->may_have_acted());
  EXPECT_FALSE(Question(failed, false)->may_have_acted());
}

TEST(Answers, HaveNotActedWhenAScriptWasRefused) {
  for (const char* reply : {"NOSCRIPT No matching script.", "NOPERM no", "BUSY Redis is busy",
                            "LOADING Redis is loading", "NOAUTH Authentication required."}) {
    SCOPED_TRACE(reply);
    EXPECT_FALSE(Question({says(refusal(reply))}, true)->may_have_acted());
  }
}

TEST(Answers, AreInDoubtWhenAnyServerIs) {
  for (const char* letters : {"d", "da", "ad", "yyd", "nde", "yys"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->in_doubt());
  }
}

TEST(Answers, AreNotInDoubtWhenNoServerIs) {
  for (const char* letters : {"y", "n", "a", "e", "yna", "aey"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters))->in_doubt());
  }
}

/// A lease of 10 s that all of the servers have given at the start, and what has been sent since.
struct Given {
  explicit Given(std::size_t servers) {
    tenure.begin(detail::Lease("token", 7, {}, {}, servers), "job");
    tenure.learn([&](detail::Lease& lease) {
      for (std::size_t i = 0; i < servers; ++i) lease.confirm({start}, 10s, i);
    });
  }
  TimePoint::duration valid_for() const { return tenure.valid_until() - start; }

  static constexpr TimePoint start{1000s};
  detail::Tenure tenure{};
};

TEST(Answers, ExtendALeaseForAsLongAsAMajorityKeepsIt) {
  const std::vector<std::pair<const char*, TimePoint::duration>> extensions{
      {"yyy", 60s - 602ms}, {"yya", 60s - 602ms}, {"yyd", 60s - 602ms}, {"ysy", 60s - 602ms},
      {"yaa", 10s - 102ms}, {"ydd", 10s - 102ms}, {"yyn", 60s - 602ms}, {"ynd", 10s - 102ms}};
  for (const auto& [letters, valid_for] : extensions) {
    SCOPED_TRACE(letters);
    Given given(3);
    Question(servers(letters), true)->learn_extended(given.tenure, 60s, protocol::verdict);
    EXPECT_EQ(given.valid_for(), valid_for);
  }
}

TEST(Answers, ShortenALeaseOnceAMajorityMayKeepItForLess) {
  const std::vector<std::pair<const char*, TimePoint::duration>> extensions{
      {"yyy", 988ms},       {"ydd", 988ms},       {"das", 988ms},      {"nya", 988ms},
      {"yaa", 10s - 102ms}, {"aad", 10s - 102ms}, {"naa", 10s - 102ms}};
  for (const auto& [letters, valid_for] : extensions) {
    SCOPED_TRACE(letters);
    Given given(3);
    Question(servers(letters), true)->learn_extended(given.tenure, 1s, protocol::verdict);
    EXPECT_EQ(given.valid_for(), valid_for);
  }
}

/// An extension is carried out late at the first server, and another does not get the next one.
TEST(Answers, OfAMajorityDoNotCountForAServerThatMayBeExtendedLate) {
  Given given(3);
  Question(servers("dyy"), true)->learn_extended(given.tenure, 1s, protocol::verdict);
  Question(servers("yyd"), true)->learn_extended(given.tenure, 30s, protocol::verdict);
  EXPECT_EQ(given.valid_for(), 988ms);
  Question(servers("yyy"), true)->learn_extended(given.tenure, 30s, protocol::verdict);
  EXPECT_EQ(given.valid_for(), 30s - 302ms);
}

TEST(Answers, ConfirmALeaseByThoseThatGaveIt) {
  detail::Tenure tenure;
  tenure.begin(detail::Lease("token", 7, {}, {}, 3), "job");
  std::vector<Answer> answers = servers("yyd");
  answers[0].sent_after = 3ms;
  answers[1].sent_after = 1ms;
  Question(answers)->learn_given(tenure, 10s, protocol::verdict);
  EXPECT_EQ(tenure.valid_until(), Given::start + 1ms + 10s - 102ms);
}

TEST(Answers, GiveTheRepliesOfTheFirstServerThatHasThem) {
  const Fake executor = fake_servers({away(), says(nil(), integer(7)), says(nil(), integer(8))});
  const std::array commands{protocol_of_job.acquire("token", 1s), protocol_of_job.life()};
  const Answers answers(*executor, {.key = "job", .commands = commands, .undo = nullptr},
                        Connecting::on_top);
  ASSERT_NE(answers.reply(1), nullptr);
  EXPECT_EQ(answers.reply(1)->integer, 7);
  EXPECT_EQ(answers.reply(2), nullptr);
}

TEST(Answers, NameTheServerThatRefused) {
  const Error error = Question({says(refusal("OOM command not allowed"))})->error("job");
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_EQ(error.server(), "redis://fake:1/0");
  EXPECT_FALSE(error.in_doubt());
}

TEST(Answers, NameAllServersThatDidNotAgreeAndWhy) {
  const Question question({says(nil()), says(refusal("OOM command not allowed")), away()});
  const Error error = question->error("job");
  const std::string text = error.what();
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(text.find("2 of 3 servers have to agree"), std::string::npos) << text;
  EXPECT_NE(text.find("redis://fake:2/0"), std::string::npos) << text;
  EXPECT_NE(text.find("OOM"), std::string::npos) << text;
  EXPECT_NE(text.find("refused"), std::string::npos) << text;
}

TEST(Answers, PassAFailureOn) {
  const Error error = Question(servers("d"))->error("job");
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_TRUE(error.in_doubt());
}

TEST(Answers, AreInDoubtWhenAScriptFailed) {
  const std::vector<Answer> failed{
      says(refusal("OOM not allowed script: f00, on @user_script:1."))};
  EXPECT_TRUE(Question(failed, true)->in_doubt());
  EXPECT_FALSE(Question(failed, false)->in_doubt());
  EXPECT_TRUE(Question(failed, true)->error("job").in_doubt());
  EXPECT_FALSE(Question(failed, false)->error("job").in_doubt());
}

TEST(Answers, LackAQuorumWhenNobodySaidWhy) {
  EXPECT_EQ(Question(servers("yynns"))->error("job").code(), Errc::no_quorum);
}

}  // namespace answers_test
}  // namespace redlatch::test
