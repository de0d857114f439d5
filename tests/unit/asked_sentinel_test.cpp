#include "net/asked_sentinel.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <utility>

#include "net/asking_threads.hpp"

namespace redlatch::test::asked_sentinel_test {
namespace {

using namespace std::chrono_literals;
using detail::BootClock;
using detail::TimePoint;
using Outcome = detail::AskedSentinel::Outcome;
using Question = detail::AskedSentinel::Asking;

constexpr auto fresh_for = detail::AskingThreads::fresh_for;
constexpr TimePoint::duration tick{1};
constexpr auto max_mapping = 500ms;

const Address primary{"primary", 6379};
const Address other{"other", 6379};

Outcome naming() { return {.answer = detail::SentinelAnswer{.primary = primary}}; }
Outcome failing() { return {.failure = detail::IoError(Errc::unreachable, "gone")}; }
Outcome without_descriptor() {
  return {.failure = detail::IoError(Errc::unreachable, "none left"), .was_short = true};
}

TimePoint at(std::chrono::milliseconds time) { return TimePoint(1h) + time; }

/// Questions begin when they do; all other times are given.
class AskedSentinel : public testing::Test {
 protected:
  /// Begins a question that is never over.
  TimePoint asks() {
    return notes(std::make_shared<Question>([] { return Outcome{}; }));
  }
  /// Begins a question that is over.
  TimePoint asks(Outcome outcome) {
    return notes(finished(Question::start([outcome = std::move(outcome)] { return outcome; })));
  }
  TimePoint notes(std::shared_ptr<Question> question) {
    const TimePoint begun = question->begun();
    one.forget_question();
    one.note_question(std::move(question));
    return begun;
  }
  static std::shared_ptr<Question> finished(std::shared_ptr<Question> question) {
    EXPECT_TRUE(question->wait(BootClock::now() + 20s, detail::never_cancelled));
    return question;
  }

  detail::AskedSentinel one{{"sentinel", 26379}, nullptr};
};

TEST_F(AskedSentinel, HasHungWhileTwoQuestionsAreUnderWay) {
  std::promise<Outcome> outcome;
  const auto earlier = Question::start([&] { return outcome.get_future().get(); });
  notes(earlier);
  EXPECT_FALSE(one.has_hung());
  const TimePoint begun = asks();
  EXPECT_TRUE(one.has_hung());
  EXPECT_FALSE(one.is_to_be_asked(std::nullopt, begun + 1h));
  EXPECT_FALSE(one.is_to_be_asked(begun + 1h, begun + 1h));
  outcome.set_value(naming());
  finished(earlier);
  EXPECT_FALSE(one.has_hung());
  EXPECT_TRUE(one.is_to_be_asked(begun + 1h, begun + 1h));
}

TEST_F(AskedSentinel, HasNotHungWhenTheLaterQuestionIsOver) {
  asks();
  asks(failing());
  EXPECT_FALSE(one.has_hung());
}

TEST_F(AskedSentinel, HasAnsweredIfItsLastAnswerNamesThePrimary) {
  EXPECT_FALSE(one.has_answered());
  asks(naming());
  EXPECT_TRUE(one.has_answered());
  asks({.answer = detail::SentinelAnswer{.services = {"another"}}});
  EXPECT_FALSE(one.has_answered());
  asks();
  EXPECT_FALSE(one.has_answered());
}

TEST_F(AskedSentinel, CouldNotBeAskedForWantOfAThreadADescriptorOrMemory) {
  EXPECT_TRUE(one.could_not_be_asked()) << "no thread";
  asks(without_descriptor());
  EXPECT_TRUE(one.could_not_be_asked());
  asks({});
  EXPECT_TRUE(one.could_not_be_asked()) << "no memory";
}

TEST_F(AskedSentinel, CouldBeAskedIfItFailsOrIsAskedStill) {
  asks(failing());
  EXPECT_FALSE(one.could_not_be_asked());
  asks();
  EXPECT_FALSE(one.could_not_be_asked());
}

TEST_F(AskedSentinel, IsToBeAskedUnlessThatWasJustNow) {
  EXPECT_TRUE(one.is_to_be_asked(std::nullopt, at(0ms)));
  const TimePoint begun = asks(naming());
  EXPECT_FALSE(one.is_to_be_asked(std::nullopt, begun + fresh_for));
  EXPECT_TRUE(one.is_to_be_asked(std::nullopt, begun + fresh_for + tick));
}

TEST_F(AskedSentinel, IsNotAskedWhileAQuestionIsUnderWay) {
  const TimePoint begun = asks();
  EXPECT_FALSE(one.is_to_be_asked(std::nullopt, begun + 1h));
}

TEST_F(AskedSentinel, IsAskedWhileAQuestionFromBeforeItsNewsIsUnderWay) {
  const TimePoint begun = asks();
  one.owe_answer(begun);
  EXPECT_FALSE(one.is_to_be_asked(std::nullopt, begun + 1h));
  one.owe_answer(begun + tick);
  EXPECT_FALSE(one.is_to_be_asked(std::nullopt, begun + fresh_for)) << "a moment ago";
  EXPECT_TRUE(one.is_to_be_asked(std::nullopt, begun + 1h));
}

TEST_F(AskedSentinel, IsAskedOnceSinceATimeThatIsGiven) {
  EXPECT_TRUE(one.is_to_be_asked(at(0ms), at(0ms)));
  for (const auto& outcome : {naming(), failing()}) {
    const TimePoint begun = asks(outcome);
    EXPECT_FALSE(one.is_to_be_asked(begun, begun + 1h));
    EXPECT_TRUE(one.is_to_be_asked(begun + tick, begun + 1h));
  }
}

TEST_F(AskedSentinel, IsAskedAgainBehindAMomentIfItCouldNotBe) {
  const TimePoint begun = asks(without_descriptor());
  EXPECT_FALSE(one.is_to_be_asked(begun - 1s, begun + fresh_for));
  EXPECT_TRUE(one.is_to_be_asked(begun - 1s, begun + fresh_for + tick));
}

TEST_F(AskedSentinel, OwesAnAnswerUntilItAnswersALaterQuestion) {
  EXPECT_FALSE(one.owes_answer());
  one.owe_answer(at(10ms));
  EXPECT_TRUE(one.owes_answer());
  one.note_answer(at(9ms));
  EXPECT_TRUE(one.owes_answer()) << "that may be older than what it has told of";
  one.note_failure(at(11ms), "gone");
  EXPECT_TRUE(one.owes_answer());
  one.note_answer(at(10ms));
  EXPECT_FALSE(one.owes_answer());
}

TEST_F(AskedSentinel, SaysWhyItOwesAnAnswerStill) {
  one.note_failure(at(9ms), "earlier");
  one.owe_answer(at(10ms));
  EXPECT_EQ(one.why_unanswered(), "");
  one.note_failure(at(10ms), "gone");
  EXPECT_EQ(one.why_unanswered(), "gone");
}

TEST_F(AskedSentinel, IsToBeAskedAgainForAFailoverOrABreak) {
  one.owe_answer(at(10ms));
  EXPECT_FALSE(one.is_to_be_asked_again()) << "it is not listened to";
  one.note_failover(primary);
  EXPECT_TRUE(one.is_to_be_asked_again());
  one.forget_failover();
  EXPECT_FALSE(one.is_to_be_asked_again());
  one.note_break(at(10ms));
  EXPECT_TRUE(one.is_to_be_asked_again());
  one.note_answer(at(10ms));
  EXPECT_FALSE(one.is_to_be_asked_again());
}

TEST_F(AskedSentinel, HasBrokenOffUntilItIsAsked) {
  EXPECT_FALSE(one.has_broken_off());
  one.note_break(at(10ms));
  EXPECT_TRUE(one.has_broken_off());
  one.note_answer(at(9ms));
  EXPECT_TRUE(one.has_broken_off());
  one.note_answer(at(10ms));
  EXPECT_FALSE(one.has_broken_off());
}

TEST_F(AskedSentinel, HasNotBrokenOffIfItDoesNotAnswer) {
  one.note_break(at(10ms));
  one.note_failure(at(5ms), "gone");
  EXPECT_FALSE(one.has_broken_off());
}

TEST_F(AskedSentinel, MayHideAFailoverUntilTheOthersHaveHeardOfIt) {
  EXPECT_FALSE(one.may_hide_failover(at(10ms)));
  one.note_break(at(10ms));
  EXPECT_TRUE(one.may_hide_failover(at(10ms) + 2s - tick));
  EXPECT_FALSE(one.may_hide_failover(at(10ms) + 2s));
  one.note_answer(at(10ms));
  EXPECT_FALSE(one.may_hide_failover(at(10ms)));
}

TEST_F(AskedSentinel, IsAwaitedUntilTheQuestionIsOver) {
  EXPECT_TRUE(one.is_awaited(at(0ms), at(0ms), at(0ms), max_mapping)) << "it could not be asked";
  const TimePoint begun = asks();
  EXPECT_TRUE(one.is_awaited(begun, begun, begun + 1h, max_mapping));
  EXPECT_TRUE(one.is_awaited(begun + tick, begun, begun + 1h, max_mapping))
      << "it is to be asked then";
  for (const auto& outcome : {naming(), failing()}) {
    asks(outcome);
    EXPECT_FALSE(one.is_awaited(begun, begun, begun, max_mapping));
  }
  asks(without_descriptor());
  EXPECT_TRUE(one.is_awaited(begun, begun, begun, max_mapping));
}

TEST_F(AskedSentinel, IsNotAwaitedIfItWasSilentTheLastTime) {
  const TimePoint begun = asks();
  one.note_failure(begun - 1s, "gone");
  EXPECT_FALSE(one.is_awaited(begun, begun, begun, max_mapping));
  one.note_answer(begun);
  EXPECT_TRUE(one.is_awaited(begun, begun, begun, max_mapping));
}

TEST_F(AskedSentinel, IsNotAwaitedForLongInMapAddress) {
  const TimePoint begun = asks();
  const TimePoint counted_from = begun + 1s;
  one.note_mapping(1);
  EXPECT_TRUE(one.is_awaited(begun, counted_from, counted_from + max_mapping - tick, max_mapping));
  EXPECT_FALSE(one.is_awaited(begun, counted_from, counted_from + max_mapping, max_mapping));
  one.note_mapping(-1);
  EXPECT_TRUE(one.is_awaited(begun, counted_from, counted_from + max_mapping, max_mapping));
}

/// It keeps the next question from beginning since it began itself.
TEST_F(AskedSentinel, IsNotAwaitedForLongInMapAddressForAnEarlierQuestion) {
  const TimePoint begun = asks();
  const TimePoint from = begun + tick;
  one.note_mapping(1);
  EXPECT_TRUE(one.is_awaited(from, begun + 1s, begun + max_mapping - tick, max_mapping));
  EXPECT_FALSE(one.is_awaited(from, begun + 1s, begun + max_mapping, max_mapping));
}

TEST_F(AskedSentinel, HadNoTimeIfThisProcessWasStoppedBehindTheQuestion) {
  const TimePoint begun = asks(failing());
  one.note_failure(begun, "gone");
  one.forget_failure(begun, begun + tick);
  EXPECT_TRUE(one.could_not_be_asked());
  EXPECT_TRUE(one.is_to_be_asked(begun, begun));
  EXPECT_TRUE(one.is_awaited(begun, begun, begun, max_mapping));
}

TEST_F(AskedSentinel, HasFailedIfItWasAskedBehindTheStopOrInAnEarlierWait) {
  const TimePoint begun = asks(failing());
  one.forget_failure(begun, begun);
  one.forget_failure(begun + tick, begun + 1s);
  EXPECT_FALSE(one.could_not_be_asked());
}

TEST_F(AskedSentinel, IsNotAskedAnewBehindAStopIfItAnswersOrIsAskedStill) {
  TimePoint begun = asks(naming());
  one.forget_failure(begun, begun + tick);
  EXPECT_TRUE(one.has_answered());
  begun = asks();
  one.forget_failure(begun, begun + tick);
  EXPECT_TRUE(one.is_asked());
}

TEST_F(AskedSentinel, HasShownWhatHasComeOfAFailoverByAnAnswer) {
  one.owe_answer(at(10ms));
  one.note_failover(primary);
  EXPECT_TRUE(one.tells_failover());
  EXPECT_FALSE(one.has_shown(std::nullopt));
  EXPECT_FALSE(one.has_shown(other));
  one.note_answer(at(10ms));
  EXPECT_TRUE(one.has_shown(other));
}

TEST_F(AskedSentinel, HasShownWhatHasComeOfAFailoverIfThatPrimaryIsKnown) {
  one.owe_answer(at(10ms));
  one.note_failover(primary);
  EXPECT_TRUE(one.has_shown(primary));
  one.note_failover(std::nullopt);
  EXPECT_FALSE(one.has_shown(std::nullopt)) << "the message says nothing of it";
}

TEST_F(AskedSentinel, TellsOfTheSameFailoverUntilThatIsForgotten) {
  EXPECT_FALSE(one.tells_failover_to(std::nullopt));
  one.note_failover(primary);
  EXPECT_TRUE(one.tells_failover_to(primary));
  EXPECT_FALSE(one.tells_failover_to(other));
  one.forget_failover();
  EXPECT_FALSE(one.tells_failover_to(primary));
}

TEST_F(AskedSentinel, IsAskedAnewBehindAFailoverUnlessItHasHung) {
  asks();
  one.note_failover(primary);
  EXPECT_FALSE(one.asking());
  asks();
  EXPECT_TRUE(one.has_hung());
  one.note_failover(other);
  EXPECT_TRUE(one.asking());
}

}  // namespace
}  // namespace redlatch::test::asked_sentinel_test
