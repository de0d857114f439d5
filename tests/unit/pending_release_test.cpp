#include "engine/pending_release.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/shared.hpp>

#include "replies.hpp"

namespace redlatch::test {
namespace pending_release_test {

using namespace std::chrono_literals;
using detail::PendingRelease;
using detail::ReleaseOutcome;
using detail::TimePoint;
using Reason = detail::CleanupRelease::Reason;

constexpr TimePoint start{1h};
constexpr auto ttl = 60s;
constexpr auto settling = 500ms;
constexpr std::array all_kinds{Reason::doubt, Reason::lease, Reason::ended_lease, Reason::notified};

PendingRelease release_of(Reason of) {
  const protocol::Exclusive exclusive("job");
  PendingRelease release;
  release.begin("job", {exclusive.release("token"), ttl, of, 1h}, start);
  return release;
}

PendingRelease broken_release_of(Reason of) {
  PendingRelease release = release_of(of);
  release.broke(Errc::unreachable, start);
  return release;
}

std::optional<ReleaseOutcome> fate_of(PendingRelease release, const protocol::Reply& reply) {
  return release.answered(reply, settling, start);
}

TEST(PendingRelease, IsTheCommandThatItBeganWith) {
  const PendingRelease release = release_of(Reason::lease);
  EXPECT_EQ(release.key(), "job");
  EXPECT_EQ(release.command().script(), &protocol::release_script);
  EXPECT_EQ(release.command().argument(0), "job");
  EXPECT_EQ(release.command().argument(1), "token");
}

TEST(PendingRelease, IsDueAtOnceAndOpenUntilItsLeaseIsOver) {
  const PendingRelease release = release_of(Reason::lease);
  EXPECT_EQ(release.held(), 1h);
  EXPECT_EQ(release.due(), start);
  EXPECT_EQ(release.until(), start + ttl);
  EXPECT_FALSE(release.over(start + ttl - 1ns));
  EXPECT_TRUE(release.over(start + ttl));
  EXPECT_FALSE(release.needs_exclusive_use());
  EXPECT_EQ(release.why().code, Errc::timed_out);
}

TEST(PendingRelease, OfALeaseThatWasOursSaysSo) {
  EXPECT_EQ(fate_of(release_of(Reason::lease), integer(1)), ReleaseOutcome::released);
}

TEST(PendingRelease, OfALeaseThatWasNotOursSaysThatItWasLost) {
  EXPECT_EQ(fate_of(release_of(Reason::lease), integer(0)), ReleaseOutcome::lost);
}

TEST(PendingRelease, OfALeaseOnAKeyOfAnotherKindSaysThatItWasLost) {
  EXPECT_EQ(fate_of(release_of(Reason::lease), refusal("WRONGTYPE Operation against a key")),
            ReleaseOutcome::lost);
}

TEST(PendingRelease, OfAnEndedLeaseSaysThatItWasLostWhateverTheServerHad) {
  EXPECT_EQ(fate_of(release_of(Reason::ended_lease), integer(1)), ReleaseOutcome::lost);
  EXPECT_EQ(fate_of(release_of(Reason::ended_lease), integer(0)), ReleaseOutcome::lost);
  EXPECT_EQ(fate_of(release_of(Reason::ended_lease), refusal("WRONGTYPE Operation")),
            ReleaseOutcome::lost);
}

TEST(PendingRelease, OfADoubtIsDoneWhateverTheServerHad) {
  EXPECT_EQ(fate_of(release_of(Reason::doubt), integer(1)), ReleaseOutcome::done);
  EXPECT_EQ(fate_of(release_of(Reason::doubt), integer(0)), ReleaseOutcome::done);
  EXPECT_EQ(fate_of(release_of(Reason::doubt), refusal("WRONGTYPE Operation")),
            ReleaseOutcome::done);
  EXPECT_EQ(fate_of(release_of(Reason::notified), integer(1)), ReleaseOutcome::done);
  EXPECT_EQ(fate_of(release_of(Reason::notified), integer(0)), ReleaseOutcome::done);
}

TEST(PendingRelease, StaysOpenForEveryOtherRefusal) {
  for (const Reason of : all_kinds) {
    for (const char* words : {"NOSCRIPT No matching script", "BUSY Redis is busy", "LOADING",
                              "READONLY You can't write", "MISCONF", "OOM command not allowed",
                              "NOPERM this user has no permissions", "ERR whatever"}) {
      EXPECT_EQ(fate_of(release_of(of), refusal(words)), std::nullopt) << words;
    }
  }
}

TEST(PendingRelease, SaysWhyItIsOpen) {
  PendingRelease release = release_of(Reason::lease);
  release.answered(refusal("READONLY You can't write"), settling, start);
  EXPECT_EQ(release.why().code, Errc::not_writable);
  release.answered(refusal("NOPERM this user has no permissions"), settling, start);
  EXPECT_EQ(release.why().code, Errc::not_permitted);
  release.broke(Errc::unreachable, start);
  EXPECT_EQ(release.why().code, Errc::unreachable);
  release.failed(Errc::timed_out, start);
  EXPECT_EQ(release.why().code, Errc::timed_out);
}

TEST(PendingRelease, OfALeaseIsUnknownWhenAnAttemptBeforeMayHaveDoneIt) {
  EXPECT_EQ(fate_of(broken_release_of(Reason::lease), integer(0)), ReleaseOutcome::unknown);
  PendingRelease refused = release_of(Reason::lease);
  refused.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_EQ(fate_of(refused, integer(0)), ReleaseOutcome::unknown);
}

TEST(PendingRelease, OfALeaseOnAKeyOfAnotherKindIsUnknownToo) {
  EXPECT_EQ(fate_of(broken_release_of(Reason::lease), refusal("WRONGTYPE Operation")),
            ReleaseOutcome::unknown);
}

TEST(PendingRelease, OfALeaseThatWasStillOursIsDoneAlsoWhenRepeated) {
  EXPECT_EQ(fate_of(broken_release_of(Reason::lease), integer(1)), ReleaseOutcome::released);
}

TEST(PendingRelease, OfALeaseThatNeverWentOutBeforeIsLostAndNotUnknown) {
  PendingRelease release = release_of(Reason::lease);
  release.failed(Errc::unreachable, start);
  EXPECT_EQ(fate_of(release, integer(0)), ReleaseOutcome::lost);
}

TEST(PendingRelease, SaysWhyTheLockIsLost) {
  EXPECT_EQ(release_of(Reason::lease).loss(), detail::is_not_ours);
  EXPECT_EQ(release_of(Reason::ended_lease).loss(), detail::lease_was_over);
}

TEST(PendingRelease, OfAnEndedLeaseIsLostAlsoWhenRepeated) {
  EXPECT_EQ(fate_of(broken_release_of(Reason::ended_lease), integer(1)), ReleaseOutcome::lost);
  EXPECT_EQ(fate_of(broken_release_of(Reason::ended_lease), integer(0)), ReleaseOutcome::lost);
}

TEST(PendingRelease, OfADoubtBehindABrokenConnectionAsksAgainOnceTheOldOneHasSettled) {
  PendingRelease release = broken_release_of(Reason::doubt);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), ReleaseOutcome::done);
}

TEST(PendingRelease, OfADoubtThatMayBeOvertakenAsksAgainToo) {
  PendingRelease release = release_of(Reason::doubt);
  release.may_be_overtaken();
  EXPECT_EQ(release.answered(refusal("WRONGTYPE Operation"), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), ReleaseOutcome::done);
}

TEST(PendingRelease, OfADoubtWaitsForTheRestOfTheTimeWhenAskedTooEarly) {
  PendingRelease release = broken_release_of(Reason::doubt);
  release.answered(integer(0), settling, start);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling - 1ns), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
}

TEST(PendingRelease, OfADoubtIsDoneAtOnceWhenItFoundWhatItFeared) {
  EXPECT_EQ(fate_of(broken_release_of(Reason::doubt), integer(1)), ReleaseOutcome::done);
}

TEST(PendingRelease, OfADoubtSettlesAnewAfterAnotherBreak) {
  PendingRelease release = broken_release_of(Reason::doubt);
  release.answered(integer(0), settling, start);
  release.broke(Errc::unreachable, start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), std::nullopt);
  EXPECT_EQ(release.answered(integer(0), settling, start + 2 * settling), ReleaseOutcome::done);
}

TEST(PendingRelease, OfADoubtKeepsItsSecondQuestionThroughARefusal) {
  PendingRelease release = broken_release_of(Reason::doubt);
  release.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
}

TEST(PendingRelease, OfALeaseIsNeverOvertakenSinceItWasAnswered) {
  for (const Reason of : {Reason::lease, Reason::ended_lease}) {
    PendingRelease release = release_of(of);
    release.may_be_overtaken();
    EXPECT_EQ(release.answered(integer(0), settling, start), ReleaseOutcome::lost);
  }
}

TEST(PendingRelease, PausesTwiceAsLongAfterEachFailureAndASecondAtMost) {
  PendingRelease release = release_of(Reason::lease);
  for (const auto pause : std::vector<std::chrono::milliseconds>{
           10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 640ms, 1000ms, 1000ms, 1000ms}) {
    release.failed(Errc::unreachable, start);
    EXPECT_EQ(release.due(), start + pause);
  }
}

TEST(PendingRelease, PausesAfterARefusalAsAfterAFailure) {
  PendingRelease release = release_of(Reason::lease);
  release.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_EQ(release.due(), start + 10ms);
  release.answered(refusal("BUSY Redis is busy"), settling, start + 1s);
  EXPECT_EQ(release.due(), start + 1s + 20ms);
}

TEST(PendingRelease, IsDueAtOnceOnANewConnectionAfterABreak) {
  PendingRelease release = release_of(Reason::lease);
  for (int i = 0; i < 5; ++i) release.failed(Errc::unreachable, start);
  release.broke(Errc::unreachable, start + 3ms);
  EXPECT_EQ(release.due(), start + 3ms);
}

TEST(PendingRelease, ThatNeedsAConversationIsDueAtOnceAndSaysSo) {
  PendingRelease release = release_of(Reason::doubt);
  release.require_exclusive_use(start + 1s);
  EXPECT_TRUE(release.needs_exclusive_use());
  EXPECT_EQ(release.due(), start + 1s);
}

TEST(PendingRelease, FindsOutAnewWhetherItNeedsAConversationAfterAFailure) {
  PendingRelease broken = release_of(Reason::doubt);
  broken.require_exclusive_use(start);
  broken.broke(Errc::unreachable, start);
  EXPECT_FALSE(broken.needs_exclusive_use());
  PendingRelease failed = release_of(Reason::doubt);
  failed.require_exclusive_use(start);
  failed.failed(Errc::unreachable, start);
  EXPECT_FALSE(failed.needs_exclusive_use());
}

TEST(PendingRelease, ThatRunsOutIsUnknownOnlyWhereALeaseWasGivenBack) {
  EXPECT_EQ(release_of(Reason::lease).run_out(), ReleaseOutcome::unknown);
  EXPECT_EQ(release_of(Reason::ended_lease).run_out(), ReleaseOutcome::lost);
  EXPECT_EQ(release_of(Reason::doubt).run_out(), ReleaseOutcome::done);
}

TEST(PendingRelease, OfADoubtIsNotOverWhileTheConnectionOfTheAcquisitionLives) {
  auto life = std::make_shared<int>();
  PendingRelease release = release_of(Reason::doubt);
  release.may_be_overtaken(life);
  for (TimePoint now = start; now < start + 1min; now += settling) {
    EXPECT_EQ(release.answered(integer(0), settling, now), std::nullopt);
    EXPECT_LE(release.due(), now + 1s);
  }
  life.reset();
  EXPECT_EQ(release.answered(integer(0), settling, start + 1min), std::nullopt);
  EXPECT_EQ(release.answered(integer(0), settling, start + 1min + settling), ReleaseOutcome::done);
}

TEST(PendingRelease, OfADoubtRemembersTheFirstOfTheConnectionsThatItMayOvertake) {
  const auto first = std::make_shared<int>();
  PendingRelease release = release_of(Reason::doubt);
  release.may_be_overtaken(first);
  release.may_be_overtaken(std::make_shared<int>());
  release.broke(Errc::unreachable, start);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), std::nullopt);
}

TEST(PendingRelease, ThatIsHandedOnIsReportedByTheCopyWhicheverOfThemIsCarriedOut) {
  PendingRelease silent = release_of(Reason::lease);
  PendingRelease copy;
  silent.hand_on_to(copy);
  copy.broke(Errc::timed_out, start);
  EXPECT_EQ(fate_of(copy, integer(1)), ReleaseOutcome::released);
  EXPECT_EQ(silent.answered(integer(0), settling, start), ReleaseOutcome::done);

  PendingRelease other = release_of(Reason::lease);
  other.hand_on_to(copy);
  EXPECT_EQ(other.answered(integer(1), settling, start), ReleaseOutcome::done);
  EXPECT_EQ(fate_of(copy, integer(0)), ReleaseOutcome::released);
}

// In a cluster

const protocol::Reply moved = refusal("MOVED 365 10.0.0.2:6379");
const protocol::Reply asks = refusal("ASK 365 10.0.0.2:6379");
const protocol::Reply apart = refusal("TRYAGAIN Multiple keys request during rehashing of slot");
const protocol::Reply down = refusal("CLUSTERDOWN The cluster is down");

TEST(PendingRelease, IsRedirectedFiveTimesInARowAtOnceAndThenPauses) {
  for (const protocol::Reply& reply : {moved, asks}) {
    PendingRelease release = release_of(Reason::lease);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(release.answered(reply, settling, start + 1s), std::nullopt);
      EXPECT_EQ(release.due(), start + 1s) << i;
    }
    for (const auto pause : {10ms, 20ms, 40ms}) {
      EXPECT_EQ(release.answered(reply, settling, start + 1s), std::nullopt);
      EXPECT_EQ(release.due(), start + 1s + pause);
    }
  }
}

TEST(PendingRelease, IsRedirectedAtOnceAgainBehindAnotherReply) {
  PendingRelease release = release_of(Reason::lease);
  for (int i = 0; i < 6; ++i) release.answered(moved, settling, start);
  release.answered(refusal("BUSY Redis is busy"), settling, start);
  release.answered(moved, settling, start + 1s);
  EXPECT_EQ(release.due(), start + 1s);
}

TEST(PendingRelease, GoesBehindAskingOnlyAfterAnAsk) {
  PendingRelease release = release_of(Reason::lease);
  EXPECT_FALSE(release.asks());
  release.answered(asks, settling, start);
  EXPECT_TRUE(release.asks());
  release.answered(moved, settling, start);
  EXPECT_FALSE(release.asks());
  release.answered(asks, settling, start);
  release.answered(refusal("BUSY Redis is busy"), settling, start);
  EXPECT_FALSE(release.asks());
  release.answered(asks, settling, start);
  release.answered(down, settling, start);
  EXPECT_FALSE(release.asks());
}

/// The node to which the key was to be moved may be gone, and the key still be where it was.
TEST(PendingRelease, GoesToTheOwnerOfItsSlotWhenTheNodeThatItWasToAskIsOutOfReach) {
  PendingRelease release = release_of(Reason::lease);
  release.answered(asks, settling, start);
  release.failed(Errc::unreachable, start);
  EXPECT_FALSE(release.asks());
  release.answered(asks, settling, start);
  release.broke(Errc::unreachable, start);
  EXPECT_FALSE(release.asks());
}

TEST(PendingRelease, ReleasesTheLockAloneWhileItsQueueIsAtAnotherNode) {
  PendingRelease release = release_of(Reason::lease);
  EXPECT_EQ(release.answered(apart, settling, start), std::nullopt);
  EXPECT_EQ(release.command().script(), &protocol::release_alone_script);
  EXPECT_EQ(release.command().argument(0), "job");
  EXPECT_EQ(release.command().argument(1), "token");
  EXPECT_EQ(release.command().arguments().size(), 2U);
  EXPECT_EQ(release.due(), start);
  EXPECT_EQ(fate_of(release, integer(1)), ReleaseOutcome::released);
  EXPECT_EQ(fate_of(release, integer(0)), ReleaseOutcome::lost);
}

TEST(PendingRelease, HasForEachScriptWithAQueueOneForTheLockAlone) {
  const protocol::Exclusive exclusive("job");
  const protocol::Shared shared("job");
  const protocol::QueueEntry entry{.value = "value", .ttl = 9s, .channel = "redlatch:me"};
  const std::vector<std::pair<protocol::Command, const protocol::Script*>> commands{
      {exclusive.release("value"), &protocol::release_alone_script},
      {exclusive.dequeue(entry, 77), &protocol::release_alone_script},
      {exclusive.release_after("value", 3s), &protocol::release_after_alone_script},
      {shared.release("value"), &protocol::release_shared_alone_script},
      {shared.dequeue(entry, 77), &protocol::release_shared_alone_script}};
  for (const auto& [command, alone] : commands) {
    PendingRelease release;
    release.begin("job", {command, ttl}, start);
    release.answered(apart, settling, start);
    EXPECT_EQ(release.command().script(), alone);
    EXPECT_EQ(release.command().argument(1), "value");
    EXPECT_TRUE(alone->side_keys.front().empty()) << "one key, which works while a slot is moved";
  }
}

/// `LockOptions::min_hold`.
TEST(PendingRelease, LeavesTheLockAloneForTheRestOfItsTimeWhileItsQueueIsAtAnotherNode) {
  const protocol::Exclusive exclusive("job");
  PendingRelease release;
  release.begin("job", {exclusive.release_after("11-22", 3s), ttl}, start);
  release.answered(apart, settling, start);
  ASSERT_EQ(release.command().arguments().size(), 4U);
  EXPECT_EQ(release.command().argument(2), "3000");
  EXPECT_EQ(release.command().argument(3), "22");
}

/// Of several locks, or with one key, which is never refused so.
TEST(PendingRelease, PausesWhereThereIsNoScriptForTheLockAlone) {
  PendingRelease release = release_of(Reason::lease);
  release.answered(apart, settling, start);
  release.answered(apart, settling, start);
  EXPECT_EQ(release.command().script(), &protocol::release_alone_script);
  EXPECT_EQ(release.due(), start + 10ms);
  release.answered(apart, settling, start);
  EXPECT_EQ(release.due(), start + 20ms);
}

TEST(PendingRelease, PausesWhileItsSlotIsAtNoNode) {
  PendingRelease release = release_of(Reason::lease);
  for (const auto pause : {10ms, 20ms, 40ms}) {
    EXPECT_EQ(release.answered(down, settling, start), std::nullopt);
    EXPECT_EQ(release.due(), start + pause);
    EXPECT_EQ(release.command().script(), &protocol::release_script);
  }
  EXPECT_EQ(release.why().code, Errc::not_writable);
  EXPECT_FALSE(release.was_not_writable()) << "the other keys of its node may be writable";
}

TEST(PendingRelease, IsLostAndNotUnknownBehindRedirectsSinceNothingWasCarriedOut) {
  for (const protocol::Reply& reply : {moved, asks, apart, down}) {
    PendingRelease release = release_of(Reason::lease);
    for (int i = 0; i < 7; ++i) release.answered(reply, settling, start);
    EXPECT_EQ(fate_of(release, integer(0)), ReleaseOutcome::lost) << reply.text;
    EXPECT_EQ(fate_of(release, integer(1)), ReleaseOutcome::released) << reply.text;
  }
  PendingRelease broken = broken_release_of(Reason::lease);
  broken.answered(moved, settling, start);
  EXPECT_EQ(fate_of(broken, integer(0)), ReleaseOutcome::unknown) << "of the attempt before";
}

TEST(PendingRelease, OfADoubtKeepsItsSecondQuestionThroughARedirect) {
  PendingRelease release = broken_release_of(Reason::doubt);
  release.answered(moved, settling, start);
  EXPECT_EQ(release.answered(integer(0), settling, start), std::nullopt);
  EXPECT_EQ(release.due(), start + settling);
  release.answered(asks, settling, start + settling);
  EXPECT_EQ(release.answered(integer(0), settling, start + settling), ReleaseOutcome::done);
}

TEST(PendingRelease, BeginsAnotherOneWithoutTheRedirectsOfTheOneBefore) {
  PendingRelease release = release_of(Reason::lease);
  for (int i = 0; i < 7; ++i) release.answered(asks, settling, start);
  const protocol::Exclusive other("other");
  release.begin("other", {other.release("token"), ttl, Reason::lease}, start);
  EXPECT_FALSE(release.asks());
  release.answered(moved, settling, start);
  EXPECT_EQ(release.due(), start);
}

TEST(PendingRelease, BeginsAnotherOneWithNothingOfTheOneBefore) {
  PendingRelease release = broken_release_of(Reason::doubt);
  release.require_exclusive_use(start);
  release.answered(integer(0), settling, start);
  for (int i = 0; i < 5; ++i) release.failed(Errc::not_permitted, start);
  const protocol::Exclusive other("other");
  const TimePoint later = start + 10ms;
  release.begin("other", {other.release("its token"), 2s, Reason::lease}, later);
  EXPECT_EQ(release.key(), "other");
  EXPECT_EQ(release.command().argument(1), "its token");
  EXPECT_EQ(release.held(), 0s);
  EXPECT_EQ(release.due(), later);
  EXPECT_EQ(release.until(), later + 2s);
  EXPECT_EQ(release.why().code, Errc::timed_out);
  EXPECT_FALSE(release.needs_exclusive_use());
  EXPECT_EQ(fate_of(release, integer(0)), ReleaseOutcome::lost) << "it was not repeated";
  release.failed(Errc::unreachable, later);
  EXPECT_EQ(release.due(), later + 10ms) << "the pauses begin anew";
}

}  // namespace pending_release_test
}  // namespace redlatch::test
