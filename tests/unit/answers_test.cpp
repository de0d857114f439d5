#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/answers.hpp>
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

TEST(Answers, WereSentWithTheFirstByteToAnyServer) {
  std::vector<Answer> answers = servers("yyy");
  answers[0].sent_after = 2ms;
  answers[1].sent_after = 1ms;
  answers[2].sent_after = 3ms;
  EXPECT_EQ(Question(answers)->sent(), TimePoint{1000s} + 1ms);
}

TEST(Answers, WereNotSentToAServerThatIsAway) {
  for (const char* letters : {"yya", "yay", "ayy"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(Question(servers(letters))->sent(), TimePoint{1000s});
  }
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
