#include "engine/pending_release.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "replies.hpp"

namespace redlatch::test {
namespace release_test {

using namespace std::chrono_literals;
using detail::Fate;
using detail::Release;
using detail::TimePoint;
using Of = detail::Undo::Of;

constexpr TimePoint start{1h};
constexpr auto ttl = 60s;
constexpr auto settling = 500ms;
constexpr std::array all_kinds{Of::doubt, Of::lease, Of::ended_lease, Of::told};

Release release_of(Of of) {
  const protocol::Exclusive exclusive("job");
  Release release;
  release.begin("job", {exclusive.release("token"), ttl, of, start - 1h}, start);
  return release;
}

Release broken_release_of(Of of) {
  Release release = release_of(of);
  release.broke(Errc::unreachable, start);
  return release;
}

std::optional<Fate> fate_of(Release release, const protocol::Reply& reply) {
  return release.answered(reply, settling, start);
}

TEST(Release, IsTheCommandThatItBeganWith) {
  const Release release = release_of(Of::lease);
  EXPECT_EQ(release.key(), "job");
  EXPECT_EQ(release.command().script(), &protocol::release_script);
  EXPECT_EQ(release.command().argument(0), "job");
  EXPECT_EQ(release.command().argument(1), "token");
}

TEST(Release, IsDueAtOnceAndOpenUntilItsLeaseIsOver) {
  const Release release = release_of(Of::lease);
  EXPECT_EQ(release.since(), start - 1h);
  EXPECT_EQ(release.due(), start);
  EXPECT_EQ(release.until(), start + ttl);
  EXPECT_FALSE(release.over(start + ttl - 1ns));
  EXPECT_TRUE(release.over(start + ttl));
  EXPECT_FALSE(release.converses());
  EXPECT_EQ(release.why(), Errc::timed_out);
}

TEST(Release, OfALeaseThatWasOursSaysSo) {
  EXPECT_EQ(fate_of(release_of(Of::lease), integer(1)), Fate::released);
}

TEST(Release, OfALeaseThatWasNotOursSaysThatItWasLost) {
  EXPECT_EQ(fate_of(release_of(Of::lease), integer(0)), Fate::lost);
}

TEST(Release, OfALeaseOnAKeyOfAnotherKindSaysThatItWasLost) {
  EXPECT_EQ(fate_of(release_of(Of::lease), refusal("WRONGTYPE Operation against a key")),
            Fate::lost);
}

TEST(Release, OfAnEndedLeaseSaysThatItWasLostWhateverTheServerHad) {
  EXPECT_EQ(fate_of(release_of(Of::ended_lease), integer(1)), Fate::lost);
  EXPECT_EQ(fate_of(release_of(Of::ended_lease), integer(0)), Fate::lost);
  EXPECT_EQ(fate_of(release_of(Of::ended_lease), refusal("WRONGTYPE Operation")), Fate::lost);
}

TEST(Release, OfADoubtIsDoneWhateverTheServerHad) {
  EXPECT_EQ(fate_of(release_of(Of::doubt), integer(1)), Fate::done);
  EXPECT_EQ(fate_of(release_of(Of::doubt), integer(0)), Fate::done);
  EXPECT_EQ(fate_of(release_of(Of::doubt), refusal("WRONGTYPE Operation")), Fate::done);
  EXPECT_EQ(fate_of(release_of(Of::told), integer(1)), Fate::done);
  EXPECT_EQ(fate_of(release_of(Of::told), integer(0)), Fate::done);
}

TEST(Release, StaysOpenForEveryOtherRefusal) {
  for (const Of of : all_kinds) {
    for (const char* words : {"NOSCRIPT No matching script", "BUSY Redis is busy", "LOADING",
                              "READONLY You can't write", "MISCONF", "OOM command not allowed",
                              "NOPERM this user has no permissions", "ERR whatever"}) {
      EXPECT_EQ(fate_of(release_of(of), refusal(words)), std::nullopt) << words;
    }
  }
}

TEST(Release, SaysWhyItIsOpen) {
  Release release = release_of(Of::lease);
  release.answered(refusal("READONLY You can't write"), settling, start);
  EXPECT_EQ(release.why(), Errc::not_writable);
  release.answered(refusal("NOPERM this user has no permissions"), settling, start);
  EXPECT_EQ(release.why(), Errc::not_permitted);
  release.broke(Errc::unreachable, start);
  EXPECT_EQ(release.why(), Errc::unreachable);
  release.failed(Errc::timed_out, start);
  EXPECT_EQ(release.why(), Errc::timed_out);
}

TEST(Release, OfALeaseIsUnknownWhenAnAttemptBeforeMayHaveDoneIt) {
  EXPECT_EQ(fate_of(broken_release_of(Of::lease), integer(0)), Fate::unknown);
  Release refused = release_of(Of::lease);
  refused.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_EQ(fate_of(refused, integer(0)), Fate::unknown);
}

TEST(Release, OfALeaseOnAKeyOfAnotherKindIsUnknownToo) {
  EXPECT_EQ(fate_of(broken_release_of(Of::lease), refusal("WRONGTYPE Operation")), Fate::unknown);
}

TEST(Release, OfALeaseThatWasStillOursIsDoneAlsoWhenRepeated) {
  EXPECT_EQ(fate_of(broken_release_of(Of::lease), integer(1)), Fate::released);
}

TEST(Release, OfALeaseThatNeverWentOutBeforeIsLostAndNotUnknown) {
  Release release = release_of(Of::lease);
  release.failed(Errc::unreachable, start);
  EXPECT_EQ(fate_of(release, integer(0)), Fate::lost);
}

TEST(Release, OfAnEndedLeaseIsLostAlsoWhenRepeated) {
  EXPECT_EQ(fate_of(broken_release_of(Of::ended_lease), integer(1)), Fate::lost);
  EXPECT_EQ(fate_of(broken_release_of(Of::ended_lease), integer(0)), Fate::lost);
}

TEST(Release, OfADoubtBehindABrokenConnectionAsksAgainOnceTheOldOneHasSettled) {
  Release release = broken_release_of(Of::doubt);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), Fate::done);
}

TEST(Release, OfADoubtThatMayBeOvertakenAsksAgainToo) {
  Release release = release_of(Of::doubt);
  release.may_be_overtaken();
  EXPECT_EQ(release.answered(refusal("WRONGTYPE Operation"), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), Fate::done);
}

TEST(Release, OfADoubtWaitsForTheRestOfTheTimeWhenAskedTooEarly) {
  Release release = broken_release_of(Of::doubt);
  release.answered(integer(0), settling, start);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling - 1ns), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
}

TEST(Release, OfADoubtIsDoneAtOnceWhenItFoundWhatItFeared) {
  EXPECT_EQ(fate_of(broken_release_of(Of::doubt), integer(1)), Fate::done);
}

TEST(Release, OfADoubtSettlesAnewAfterAnotherBreak) {
  Release release = broken_release_of(Of::doubt);
  release.answered(integer(0), settling, start);
  release.broke(Errc::unreachable, start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), std::nullopt);
  EXPECT_EQ(release.answered(integer(0), settling, start + 2 * settling), Fate::done);
}

TEST(Release, OfADoubtKeepsItsSecondQuestionThroughARefusal) {
  Release release = broken_release_of(Of::doubt);
  release.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
}

TEST(Release, OfALeaseIsNeverOvertakenSinceItWasAnswered) {
  for (const Of of : {Of::lease, Of::ended_lease}) {
    Release release = release_of(of);
    release.may_be_overtaken();
    EXPECT_EQ(release.answered(integer(0), settling, start), Fate::lost);
  }
}

TEST(Release, PausesTwiceAsLongAfterEachFailureAndASecondAtMost) {
  Release release = release_of(Of::lease);
  for (const auto pause : std::vector<std::chrono::milliseconds>{
           10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 1000ms, 1000ms, 1000ms}) {
    release.failed(Errc::unreachable, start);
    EXPECT_EQ(release.due(), start + pause);
  }
}

TEST(Release, PausesAfterARefusalAsAfterAFailure) {
  Release release = release_of(Of::lease);
  release.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_EQ(release.due(), start + 10ms);
  release.answered(refusal("BUSY Redis is busy"), settling, start + 1s);
  EXPECT_EQ(release.due(), start + 1s + 20ms);
}

TEST(Release, IsDueAtOnceOnANewConnectionAfterABreak) {
  Release release = release_of(Of::lease);
  for (int i = 0; i < 5; ++i) release.failed(Errc::unreachable, start);
  release.broke(Errc::unreachable, start + 3ms);
  EXPECT_EQ(release.due(), start + 3ms);
}

TEST(Release, ThatNeedsAConversationIsDueAtOnceAndSaysSo) {
  Release release = release_of(Of::doubt);
  release.needs_conversation(start + 1s);
  EXPECT_TRUE(release.converses());
  EXPECT_EQ(release.due(), start + 1s);
}

TEST(Release, FindsOutAnewWhetherItNeedsAConversationAfterAFailure) {
  Release broken = release_of(Of::doubt);
  broken.needs_conversation(start);
  broken.broke(Errc::unreachable, start);
  EXPECT_FALSE(broken.converses());
  Release failed = release_of(Of::doubt);
  failed.needs_conversation(start);
  failed.failed(Errc::unreachable, start);
  EXPECT_FALSE(failed.converses());
}

TEST(Release, ThatRunsOutIsUnknownOnlyWhereALeaseWasGivenBack) {
  EXPECT_EQ(release_of(Of::lease).run_out(), Fate::unknown);
  EXPECT_EQ(release_of(Of::ended_lease).run_out(), Fate::lost);
  EXPECT_EQ(release_of(Of::doubt).run_out(), Fate::done);
}

TEST(Release, OfADoubtIsNotOverWhileTheConnectionOfTheAcquisitionLives) {
  auto life = std::make_shared<int>();
  Release release = release_of(Of::doubt);
  release.may_be_overtaken(life);
  for (TimePoint now = start; now < start + 1min; now += settling) {
    EXPECT_EQ(release.answered(integer(0), settling, now), std::nullopt);
    EXPECT_LE(release.due(), now + 1s);
  }
  life.reset();
  EXPECT_EQ(release.answered(integer(0), settling, start + 1min), std::nullopt);
  EXPECT_EQ(release.answered(integer(0), settling, start + 1min + settling), Fate::done);
}

TEST(Release, OfADoubtRemembersTheFirstOfTheConnectionsThatItMayOvertake) {
  const auto first = std::make_shared<int>();
  Release release = release_of(Of::doubt);
  release.may_be_overtaken(first);
  release.may_be_overtaken(std::make_shared<int>());
  release.broke(Errc::unreachable, start);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), std::nullopt);
}

TEST(Release, ThatIsHandedOnIsReportedByTheCopyWhicheverOfThemIsCarriedOut) {
  Release silent = release_of(Of::lease);
  Release copy;
  silent.hand_on_to(copy);
  copy.broke(Errc::timed_out, start);
  EXPECT_EQ(fate_of(copy, integer(1)), Fate::released);
  EXPECT_EQ(silent.answered(integer(0), settling, start), Fate::done);

  Release other = release_of(Of::lease);
  other.hand_on_to(copy);
  EXPECT_EQ(other.answered(integer(1), settling, start), Fate::done);
  EXPECT_EQ(fate_of(copy, integer(0)), Fate::released);
}

TEST(Release, BeginsAnotherOneWithNothingOfTheOneBefore) {
  Release release = broken_release_of(Of::doubt);
  release.needs_conversation(start);
  release.answered(integer(0), settling, start);
  for (int i = 0; i < 5; ++i) release.failed(Errc::not_permitted, start);
  const protocol::Exclusive other("other");
  const TimePoint later = start + 10ms;
  release.begin("other", {other.release("its token"), 2s, Of::lease}, later);
  EXPECT_EQ(release.key(), "other");
  EXPECT_EQ(release.command().argument(1), "its token");
  EXPECT_EQ(release.since(), TimePoint{});
  EXPECT_EQ(release.due(), later);
  EXPECT_EQ(release.until(), later + 2s);
  EXPECT_EQ(release.why(), Errc::timed_out);
  EXPECT_FALSE(release.converses());
  EXPECT_EQ(fate_of(release, integer(0)), Fate::lost) << "it was not repeated";
  release.failed(Errc::unreachable, later);
  EXPECT_EQ(release.due(), later + 10ms) << "the pauses begin anew";
}

}  // namespace release_test
}  // namespace redlatch::test
