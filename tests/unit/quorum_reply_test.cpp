#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/quorum_reply.hpp>
#include <redlatch/detail/validity.hpp>
#include <redlatch/protocol/exclusive.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace quorum_reply_test {

using detail::QuorumReply;
using protocol::Vote;

const protocol::Exclusive protocol_of_job("job");

/// What servers answer to a SET, or to a script.
class Question {
 public:
  explicit Question(const std::vector<Answer>& answers, bool script = false)
      : executor(fake_servers(answers)),
        command(script ? protocol_of_job.extend("token", 1s)
                       : protocol_of_job.acquire("token", 1s)),
        answers_(*executor, {.key = "job", .commands = {&command, 1}, .cleanup = nullptr},
                 ConnectPolicy::separate_timeout) {}

  const QuorumReply* operator->() const { return &answers_; }
  Vote vote() const { return answers_.vote(protocol::vote); }

  Fake executor;

 private:
  protocol::Command command;
  QuorumReply answers_;
};

Vote vote(std::string_view letters) { return Question(servers(letters)).vote(); }

TEST(QuorumReply, AreThatOfTheOnlyServer) {
  EXPECT_EQ(vote("y"), Vote::yes);
  EXPECT_EQ(vote("n"), Vote::no);
  for (const char* letters : {"e", "a", "d", "s"}) EXPECT_EQ(vote(letters), Vote::refused);
}

TEST(QuorumReply, AreYesWhenAMajoritySaysYes) {
  for (const char* letters : {"yy", "yyn", "yny", "nyy", "yya", "dyy", "yyyn", "yyynn", "yyyad",
                              "ayeyy", "yyyyy", "yys"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(vote(letters), Vote::yes);
  }
}

TEST(QuorumReply, AreNoWhenNoMajorityIsLeft) {
  for (const char* letters :
       {"yn", "nn", "na", "ynn", "nna", "nnn", "yynn", "nnaa", "yynnn", "nnnad", "dynnn"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(vote(letters), Vote::no);
  }
}

TEST(QuorumReply, AreRefusedWhenTooFewHaveSpoken) {
  for (const char* letters : {"ya", "yan", "yee", "aaa", "nad", "yyae", "ynaa", "yynaa", "yynnd",
                              "nnaae", "eeeee", "yysss"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(vote(letters), Vote::refused);
  }
}

TEST(QuorumReply, DoNotCountAReplyBeforeTheFailure) {
  Answer half = in_doubt();
  half.replies = {ok()};
  const Question question({half});
  EXPECT_EQ(question.vote(), Vote::refused);
}

TEST(QuorumReply, AreReadByTheCaller) {
  const Question question({says(text("a")), says(text("b")), says(text("a"))});
  const auto is_a = [](const protocol::Reply& reply) {
    return reply.text == "a" ? Vote::yes : Vote::no;
  };
  EXPECT_EQ(question->vote(is_a), Vote::yes);
}

TEST(QuorumReply, PutTheSameQuestionToEveryServer) {
  const Question question(servers("yyy"));
  ASSERT_EQ(question.executor->calls.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(question.executor->calls[i].server, i);
    EXPECT_EQ(question.executor->said()[i], "SET job token NX PX 1000");
  }
}

TEST(QuorumReply, AreEnoughWhenEveryServerHasSpokenOrFailed) {
  const Question question(servers("yad"));
  EXPECT_EQ(question.executor->found_enough, (std::vector<bool>{false, false, false, true}));
}

TEST(QuorumReply, AreEnoughWhenNoOtherCanMakeADifference) {
  for (const char* letters : {"yys", "nns", "yyyss", "nnnss", "aas", "aaass", "ns", "yeas"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters)).executor->found_enough.back());
  }
}

TEST(QuorumReply, AreNotEnoughWhileASilentServerMayDecide) {
  for (const char* letters : {"s", "ys", "yns", "yas", "nas", "yynns", "nnass", "sss"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters)).executor->found_enough.back());
  }
}

TEST(QuorumReply, LeaveTheLeaseToNobodyWhenAllServersHaveReleasedIt) {
  for (const char* letters : {"yyy", "yy", "y"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters))->leaves_lease());
  }
  for (const char* letters : {"yyn", "yye", "yyd", "yya", "yys", "nnn", "yn", "e", "a", "d", "s"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->leaves_lease());
  }
}

/// It has answered the acquisition.
TEST(QuorumReply, LeaveTheLeaseToNobodyWhenTheOnlyServerDoesNotHaveIt) {
  EXPECT_FALSE(Question(servers("n"))->leaves_lease());
}

TEST(QuorumReply, MayHaveActedWhenOneOfSeveralServersMayHave) {
  for (const char* letters : {"nns", "nnd"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->may_have_acted());
  }
}

TEST(QuorumReply, HaveActedWhenAServerSaidYes) {
  for (const char* letters : {"y", "yn", "ny", "aay", "nnnny"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->may_have_acted());
  }
}

TEST(QuorumReply, HaveNotActedWhenNoServerSaidYes) {
  for (const char* letters : {"n", "e", "nne", "aa"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters))->may_have_acted());
  }
}

TEST(QuorumReply, LeaveTheDoubtOfABrokenConnectionToTheExecutor) {
  EXPECT_FALSE(Question(servers("d"))->may_have_acted());
}

TEST(QuorumReply, MayHaveActedWhenAScriptFailed) {
  const std::vector<Answer> failed{
      says(refusal("OOM not allowed script: f00, on @user_script:1."))};
  EXPECT_TRUE(Question(failed, true)->may_have_acted());
  EXPECT_FALSE(Question(failed, false)->may_have_acted());
}

TEST(QuorumReply, HaveNotActedWhenAScriptWasRefused) {
  for (const char* reply : {"NOSCRIPT No matching script.", "NOPERM no", "BUSY Redis is busy",
                            "LOADING Redis is loading", "NOAUTH Authentication required."}) {
    SCOPED_TRACE(reply);
    EXPECT_FALSE(Question({says(refusal(reply))}, true)->may_have_acted());
  }
}

TEST(QuorumReply, AreInDoubtWhenAnyServerIs) {
  for (const char* letters : {"d", "da", "ad", "yyd", "nde", "yys"}) {
    SCOPED_TRACE(letters);
    EXPECT_TRUE(Question(servers(letters))->in_doubt());
  }
}

TEST(QuorumReply, AreNotInDoubtWhenNoServerIs) {
  for (const char* letters : {"y", "n", "a", "e", "yna", "aey"}) {
    SCOPED_TRACE(letters);
    EXPECT_FALSE(Question(servers(letters))->in_doubt());
  }
}

/// A lease of 10 s that all of the servers have given at the start, and what has been sent since.
struct Given {
  explicit Given(std::size_t servers) {
    lease.begin(detail::Validity("token", 7, {}, {}, servers), "job");
    lease.learn([&](detail::Validity& validity) {
      for (std::size_t i = 0; i < servers; ++i) validity.confirm({start}, 10s, i);
    });
  }
  TimePoint::duration valid_for() const { return lease.valid_until() - start; }

  static constexpr TimePoint start{1000s};
  detail::Lease lease{};
};

TEST(QuorumReply, ExtendALeaseForAsLongAsAMajorityKeepsIt) {
  const std::vector<std::pair<const char*, TimePoint::duration>> extensions{
      {"yyy", 60s - 602ms}, {"yya", 60s - 602ms}, {"yyd", 60s - 602ms}, {"ysy", 60s - 602ms},
      {"yaa", 10s - 102ms}, {"ydd", 10s - 102ms}, {"yyn", 60s - 602ms}, {"ynd", 10s - 102ms}};
  for (const auto& [letters, valid_for] : extensions) {
    SCOPED_TRACE(letters);
    Given given(3);
    Question(servers(letters), true)->learn_extended(given.lease, 60s, protocol::vote);
    EXPECT_EQ(given.valid_for(), valid_for);
  }
}

TEST(QuorumReply, ShortenALeaseOnceAMajorityMayKeepItForLess) {
  const std::vector<std::pair<const char*, TimePoint::duration>> extensions{
      {"yyy", 988ms},       {"ydd", 988ms},       {"das", 988ms},      {"nya", 988ms},
      {"yaa", 10s - 102ms}, {"aad", 10s - 102ms}, {"naa", 10s - 102ms}};
  for (const auto& [letters, valid_for] : extensions) {
    SCOPED_TRACE(letters);
    Given given(3);
    Question(servers(letters), true)->learn_extended(given.lease, 1s, protocol::vote);
    EXPECT_EQ(given.valid_for(), valid_for);
  }
}

/// An extension is carried out late at the first server, and another does not get the next one.
TEST(QuorumReply, OfAMajorityDoNotCountForAServerThatMayBeExtendedLate) {
  Given given(3);
  Question(servers("dyy"), true)->learn_extended(given.lease, 1s, protocol::vote);
  Question(servers("yyd"), true)->learn_extended(given.lease, 30s, protocol::vote);
  EXPECT_EQ(given.valid_for(), 988ms);
  Question(servers("yyy"), true)->learn_extended(given.lease, 30s, protocol::vote);
  EXPECT_EQ(given.valid_for(), 30s - 302ms);
}

TEST(QuorumReply, ConfirmALeaseByThoseThatGaveIt) {
  detail::Lease lease;
  lease.begin(detail::Validity("token", 7, {}, {}, 3), "job");
  std::vector<Answer> answers = servers("yyd");
  answers[0].sent_after = 3ms;
  answers[1].sent_after = 1ms;
  Question(answers)->learn_given(lease, 10s, protocol::vote);
  EXPECT_EQ(lease.valid_until(), Given::start + 1ms + 10s - 102ms);
}

TEST(QuorumReply, GiveTheRepliesOfTheFirstServerThatHasThem) {
  const Fake executor = fake_servers({away(), says(nil(), integer(7)), says(nil(), integer(8))});
  const std::array commands{protocol_of_job.acquire("token", 1s), protocol_of_job.ask_ttl()};
  const QuorumReply answers(*executor, {.key = "job", .commands = commands, .cleanup = nullptr},
                            ConnectPolicy::separate_timeout);
  ASSERT_NE(answers.reply(1), nullptr);
  EXPECT_EQ(answers.reply(1)->integer, 7);
  EXPECT_EQ(answers.reply(2), nullptr);
}

TEST(QuorumReply, NameTheServerThatRefused) {
  const Error error = Question({says(refusal("OOM command not allowed"))})->error("job");
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_EQ(error.server(), "redis://fake:1/0");
  EXPECT_FALSE(error.in_doubt());
}

TEST(QuorumReply, NameAllServersThatDidNotAgreeAndWhy) {
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

TEST(QuorumReply, SayHowManyServersHaveAnsweredWhat) {
  const auto text_of = [](std::string_view letters) {
    return std::string(Question(servers(letters))->error("job").what());
  };
  for (const auto& [letters, said] : std::initializer_list<std::pair<const char*, const char*>>{
           {"yan", "2 of 3 servers have to agree (1 yes, 1 no); redlatch: "},
           {"aaa", "2 of 3 servers have to agree (0 yes, 0 no); redlatch: "},
           {"yynns", "3 of 5 servers have to agree (2 yes, 2 no): no quorum"}}) {
    EXPECT_NE(text_of(letters).find(said), std::string::npos) << text_of(letters);
  }
}

/// p: a wrong password; the others as of `servers`.
Errc code_of(std::string_view letters) {
  std::vector<Answer> answers;
  for (const char letter : letters) {
    answers.push_back(letter == 'p' ? Answer{.failure = Error(Errc::authentication_failed, "wrong",
                                                              "redis://fake:1/0"),
                                             .sent_after{}}
                                    : servers(std::string_view(&letter, 1)).front());
  }
  return static_cast<Errc>(Question(answers)->error("job").code().value());
}

TEST(QuorumReply, FailAsTheServersDoThatPreventAMajorityForGood) {
  for (const char* letters : {"pp", "yp", "ppp", "ppy", "npp", "app", "pdp", "spp", "nyppp"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(code_of(letters), Errc::authentication_failed);
  }
  const std::vector<Answer> both{says(refusal("NOPERM no")), away(), says(refusal("WRONGPASS no"))};
  EXPECT_EQ(Question(both)->error("job").code(), Errc::not_permitted) << "the first of them";
}

TEST(QuorumReply, LackAQuorumThatOtherServersMayGiveLater) {
  for (const char* letters : {"ay", "aap", "ayp", "nap", "dps", "eep", "sss", "yaapp", "aaapp"}) {
    SCOPED_TRACE(letters);
    EXPECT_EQ(code_of(letters), Errc::no_quorum);
  }
}

TEST(QuorumReply, PassAFailureOn) {
  const Error error = Question(servers("d"))->error("job");
  EXPECT_EQ(error.code(), Errc::timed_out);
  EXPECT_TRUE(error.in_doubt());
}

TEST(QuorumReply, AreInDoubtWhenAScriptFailed) {
  const std::vector<Answer> failed{
      says(refusal("OOM not allowed script: f00, on @user_script:1."))};
  EXPECT_TRUE(Question(failed, true)->in_doubt());
  EXPECT_FALSE(Question(failed, false)->in_doubt());
  EXPECT_TRUE(Question(failed, true)->error("job").in_doubt());
  EXPECT_FALSE(Question(failed, false)->error("job").in_doubt());
}

TEST(QuorumReply, LackAQuorumWhenNobodySaidWhy) {
  EXPECT_EQ(Question(servers("yynns"))->error("job").code(), Errc::no_quorum);
}

}  // namespace quorum_reply_test
}  // namespace redlatch::test
