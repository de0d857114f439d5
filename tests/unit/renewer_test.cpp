// When leases are renewed.

#include <algorithm>
#include <chrono>

#include "renewer_fixture.hpp"

namespace redlatch::test {
namespace renewer_test {

TEST_F(RenewerLeases, RenewsAfterAThirdOfTheTtl) {
  Lease& lease = held();
  EXPECT_EQ(renewer.due(), start + 3s);
  EXPECT_EQ(picked(start + 2s), 0U);
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_FALSE(answered(lease, integer(1), start + 3s));
  EXPECT_EQ(lease.valid_until(), start + 12s - 92ms);
  EXPECT_EQ(renewer.due(), start + 6s);
  EXPECT_EQ(picked(start + 5s), 0U);
  EXPECT_EQ(picked(start + 6s), 1U);
}

TEST_F(RenewerLeases, TakesThoseAlongThatAreDueALittleLater) {
  held(9s);
  held(9200ms);
  held(20s);
  EXPECT_EQ(picked(start + 3s), 2U);
}

TEST_F(RenewerLeases, AsksOnceUntilThereIsAnAnswer) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(renewer.awaits_answers());
  EXPECT_EQ(picked(start + 4s), 0U);
  EXPECT_FALSE(answered(lease, integer(1), start + 3s));
  EXPECT_FALSE(renewer.awaits_answers());
}

TEST_F(RenewerLeases, PicksSoManyAtOnceAndNoMore) {
  for (int i = 0; i < 300; ++i) held();
  EXPECT_EQ(picked(start + 3s), 256U);
  EXPECT_LE(renewer.due(), start + 3s);
  EXPECT_EQ(picked(start + 3s), 44U);
}

TEST_F(RenewerLeases, PicksThoseFirstThatAreDueFirst) {
  Lease& last = held(9900ms);
  Lease& first = held(9s);
  const auto due = renewer.pick(start + 4s);
  ASSERT_EQ(due.size(), 2U);
  EXPECT_EQ(due[0], &first);
  EXPECT_EQ(due[1], &last);
  renewer.picked_up();
}

/// As many locks as a busy worker has: what is due is found without a look at all of them.
TEST_F(RenewerLeases, DoesNotLookAtThoseThatAreNotDue) {
  for (int i = 0; i < 50'000; ++i) held(60s);
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(picked(start + 1s), 0U);
  const auto time = std::chrono::steady_clock::now() - before;
  EXPECT_LT(time, 2s) << "ten thousand scans take longer than that";
}

TEST_F(RenewerLeases, KnowsTheValidOnesOfAKeyAndAnOwner) {
  Lease& lease = held();
  EXPECT_EQ(renewer.held_value("job", "tok", start + 8s), lease.value());
  EXPECT_FALSE(renewer.held_value("job", "another", start + 8s));
  EXPECT_FALSE(renewer.held_value("other", "tok", start + 8s));
  EXPECT_FALSE(renewer.held_value("job", "tok", start + 9s)) << "it is over";
  renewer.detach(lease);
  EXPECT_FALSE(renewer.held_value("job", "tok", start + 8s)) << "it is released";
}

TEST(RenewerWithJitter, RenewsALittleSoonerAndNeverLater) {
  Renewer renewer{1};
  const protocol::Exclusive exclusive("job");
  TimePoint earliest = TimePoint::max();
  TimePoint latest{};
  for (int i = 0; i < 200; ++i) {
    Lease& lease = renewer.open();
    lease.begin(detail::Validity("token", here), "job");
    lease.renew_by(exclusive.extend("token", 9s), {.ttl = 9s, .renews = true, .since = start});
    lease.confirm({start}, 9s);
    renewer.keep(lease);
    earliest = std::min(earliest, renewer.due());
    renewer.pick(TimePoint{});  // makes it forget what it was due for
    latest = std::max(latest, renewer.due());
    renewer.detach(lease);
    renewer.picked_up();
    renewer.pick(TimePoint{});
  }
  EXPECT_LE(latest, start + 3s);
  EXPECT_GE(earliest, start + 3s - 300ms) << "a thirtieth of the ttl";
  EXPECT_GT(latest - earliest, 200ms);
}

TEST_F(RenewerLeases, TriesAgainUntilTheLossHasToBeTold) {
  Lease& lease = held();
  TimePoint now = start + 3s;
  int tries = 0;
  while (picked(now) == 1) {
    failed(lease, now);
    ++tries;
    EXPECT_EQ(renewer.due(), now + 301ms);
    now = renewer.due();
  }
  EXPECT_EQ(tries, 19);
  EXPECT_GE(now, start + 9s - 92ms - 450ms);
  EXPECT_TRUE(renewer.next_loss({}));
}

TEST_F(RenewerLeases, TriesAgainWhatCouldNotBeSentAtAll) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.failed(lease, 9s, {}, start + 3s, {});
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerLeases, DoesNotRelyOnWhatMayBeCarriedOutLate) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(lease, start + 3s);
  renewer.pause_renewal(lease);
  lease.confirm({start + 4s}, 60s);  // an extension for longer
  EXPECT_EQ(lease.valid_until(), start + 4s + 9s - 92ms);
}

TEST_F(RenewerLeases, TakesARefusalForAFailure) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_FALSE(answered(lease, refusal("READONLY You can't write"), start + 3s));
  EXPECT_FALSE(lease.is_lost());
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerLeases, StopsRenewingAtTheLimit) {
  Lease& lease = held(9s, true, start + 4s);
  EXPECT_EQ(picked(start + 3s), 1U);
  answered(lease, integer(1), start + 3s);
  EXPECT_EQ(picked(start + 11s), 0U);
  EXPECT_EQ(renewer.due(), TimePoint::max());
}

TEST_F(RenewerLeases, DoesNotTryAgainBehindTheLimit) {
  Lease& lease = held(9s, true, start + 3100ms);
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(lease, start + 3s);
  EXPECT_EQ(renewer.due(), TimePoint::max());
}

/// Nothing is to be picked at the time of a notice, which the notifier tells.
TEST_F(RenewerLeases, IsNotDueForANotice) {
  Lease& lease = held(9s, false);
  EXPECT_EQ(renewer.due(), TimePoint::max());
  EXPECT_EQ(renewer.next_loss_at(), lease.notify_loss_at());
  EXPECT_FALSE(renewer.keep(lease));
}

TEST_F(RenewerLeases, SaysWhenTheThreadHasToLookSooner) {
  EXPECT_TRUE(renewer.keep(opened(9s)));
  EXPECT_FALSE(renewer.keep(opened(9s)));
  EXPECT_FALSE(renewer.keep(opened(60s)));
  EXPECT_TRUE(renewer.keep(opened(1s)));
}

TEST_F(RenewerLeases, RenewsAllAtOnceAtAnotherServer) {
  for (int i = 0; i < 3; ++i) held(60s);
  Lease& suspended = held(60s);
  renewer.suspend(suspended);
  renewer.renew_all(start + 1s);
  EXPECT_EQ(renewer.due(), start + 1s);
  EXPECT_EQ(picked(start + 1s), 3U);
  renewer.renew_all(start + 2s);
  EXPECT_EQ(picked(start + 2s), 0U);  // their answers are still to come
}

TEST_F(RenewerLeases, RenewsNothingThatIsSuspended) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.suspend(lease);
  failed(lease, start + 3s);
  EXPECT_EQ(picked(start + 4s), 0U);
  EXPECT_EQ(renewer.held(), 1U);
  renewer.pause_renewal(lease);
  renewer.keep(lease);
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerLeases, MakesTheNextOneAtItsTimeWhenARefusedOneIsSuperseded) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.suspend(lease);
  lease.confirm({start + 3s}, 60s);
  renewer.superseded(lease);
  EXPECT_FALSE(renewer.awaits_answers());
  EXPECT_EQ(picked(start + 5s), 0U) << "the extension is not over";
  renewer.pause_renewal(lease);
  renewer.keep(lease);
  EXPECT_EQ(lease.valid_until(), start + 63s - 602ms);
  EXPECT_EQ(picked(start + 5s), 0U);
  EXPECT_EQ(picked(start + 6s), 1U);
}

TEST_F(RenewerLeases, KeepsNothingOfARefusedOneThatIsSupersededAfterTheRelease) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.detach(lease);
  renewer.close(lease);
  renewer.superseded(lease);
  EXPECT_FALSE(renewer.awaits_answers());
  EXPECT_EQ(&renewer.open(), &lease) << "it is spare";
}

TEST_F(RenewerLeases, CountsAnAnswerInTime) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_EQ(outcome(lease, integer(1), start + 3s), Renewer::Answered::counted);
}

TEST_F(RenewerLeases, CountsByTheTtlThatIsCertain) {
  Lease& lease = held(10s);
  lease.doubt({start + 1s}, 1s);
  EXPECT_EQ(lease.valid_until(), start + 2s - 12ms);
  EXPECT_EQ(lease.notify_loss_at(), lease.valid_until() - 50ms);
  lease.confirm({start + 1s}, 10s);
  renewer.keep(lease);
  EXPECT_EQ(picked(start + 1s + 330ms), 1U);
}

// In a cluster

const protocol::Reply moved = refusal("MOVED 365 10.0.0.2:6379");
const protocol::Reply asks = refusal("ASK 365 10.0.0.2:6379");

TEST_F(RenewerLeases, RenewsAtOnceAtTheNodeToWhichARenewalIsRedirected) {
  Lease& lease = held();
  const TimePoint valid_until = lease.valid_until();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_EQ(outcome(lease, moved, start + 3s), Renewer::Answered::redirected);
  EXPECT_FALSE(renewer.awaits_answers());
  EXPECT_EQ(renewer.due(), start + 3001ms);
  EXPECT_EQ(lease.valid_until(), valid_until);
  EXPECT_EQ(picked(start + 3001ms), 1U);
  EXPECT_EQ(outcome(lease, integer(1), start + 3001ms), Renewer::Answered::counted);
  EXPECT_EQ(lease.valid_until(), start + 12001ms - 92ms);
  EXPECT_EQ(renewer.due(), start + 6001ms);
}

TEST_F(RenewerLeases, RenewsAtOnceFiveTimesInARowAndThenAsAfterAFailure) {
  Lease& lease = held();
  TimePoint now = start + 3s;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(picked(now), 1U);
      EXPECT_EQ(outcome(lease, i % 2 == 0 ? moved : asks, now), Renewer::Answered::redirected);
      EXPECT_EQ(renewer.due(), now + 1ms);
      now += 1ms;
    }
    ASSERT_EQ(picked(now), 1U);
    EXPECT_EQ(outcome(lease, moved, now), Renewer::Answered::counted);
    EXPECT_EQ(renewer.due(), now + 301ms);
    now = renewer.due();
  }
}

TEST_F(RenewerLeases, CountsTheRedirectsSinceTheLastOtherAnswer) {
  Lease& lease = held(300s);
  for (int round = 1; round < 4; ++round) {
    const TimePoint now = start + round * 101s;
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(picked(now + i * 1ms), 1U);
      EXPECT_EQ(outcome(lease, moved, now + i * 1ms), Renewer::Answered::redirected);
    }
    ASSERT_EQ(picked(now + 5ms), 1U);
    EXPECT_EQ(outcome(lease, integer(1), now + 5ms), Renewer::Answered::counted);
  }
}

TEST_F(RenewerLeases, AsksTheOtherNodeOnlyAfterAnAsk) {
  Lease& lease = held();
  EXPECT_FALSE(lease.asks());
  TimePoint now = start + 3s;
  for (const protocol::Reply& reply :
       {moved, integer(1), refusal("READONLY You can't write"), refusal("TRYAGAIN"),
        refusal("CLUSTERDOWN The cluster is down")}) {
    ASSERT_EQ(picked(now), 1U);
    EXPECT_EQ(outcome(lease, asks, now), Renewer::Answered::redirected);
    EXPECT_TRUE(lease.asks());
    PendingRenewal next;
    next.begin(lease);
    EXPECT_TRUE(next.asks);
    now += 1ms;
    ASSERT_EQ(picked(now), 1U);
    outcome(lease, reply, now);
    EXPECT_FALSE(lease.asks()) << reply.text;
    next.begin(lease);
    EXPECT_FALSE(next.asks);
    now = renewer.due();
  }
  ASSERT_EQ(picked(now), 1U);
  outcome(lease, asks, now);
  ASSERT_EQ(picked(now + 1ms), 1U);
  failed(lease, now + 1ms);
  EXPECT_FALSE(lease.asks()) << "the node is out of reach";
}

TEST_F(RenewerLeases, TakesASlotThatIsAtNoNodeForAFailure) {
  Lease& lease = held();
  TimePoint now = start + 3s;
  for (const char* words : {"CLUSTERDOWN The cluster is down", "TRYAGAIN"}) {
    EXPECT_EQ(picked(now), 1U);
    EXPECT_EQ(outcome(lease, refusal(words), now), Renewer::Answered::counted);
    EXPECT_EQ(renewer.due(), now + 301ms);
    now = renewer.due();
  }
}

TEST_F(RenewerLeases, IgnoresARedirectOfALeaseThatWasGivenUpMeanwhile) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.detach(lease);
  renewer.close(lease);
  outcome(lease, asks, start + 3s);
  EXPECT_FALSE(renewer.awaits_answers());
  EXPECT_EQ(renewer.due(), TimePoint::max());
  EXPECT_EQ(picked(start + 5s), 0U);
  EXPECT_EQ(&renewer.open(), &lease) << "it is spare";
}

TEST_F(RenewerLeases, CountsNoRedirectsOfTheLeaseBefore) {
  Lease* lease = &held();
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(picked(start + 3s + i * 1ms), 1U);
    outcome(*lease, asks, start + 3s + i * 1ms);
  }
  renewer.detach(*lease);
  renewer.close(*lease);
  Lease& next = held();
  ASSERT_EQ(&next, lease);
  EXPECT_FALSE(next.asks());
  ASSERT_EQ(picked(start + 3s), 1U);
  EXPECT_EQ(outcome(next, moved, start + 3s), Renewer::Answered::redirected);
}

TEST_F(RenewerLeases, RenewsNothingThatIsSuspendedAfterARedirect) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.suspend(lease);
  EXPECT_EQ(outcome(lease, moved, start + 3s), Renewer::Answered::redirected);
  EXPECT_EQ(picked(start + 4s), 0U);
  renewer.pause_renewal(lease);
  renewer.keep(lease);
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerLeases, DoesNotFollowARedirectBehindTheLimit) {
  Lease& lease = held(9s, true, start + 3001ms);
  EXPECT_EQ(picked(start + 3s), 1U);
  outcome(lease, moved, start + 3s);
  EXPECT_EQ(renewer.due(), TimePoint::max());
}

}  // namespace renewer_test
}  // namespace redlatch::test
