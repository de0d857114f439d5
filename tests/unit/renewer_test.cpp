#include "renewer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/exclusive.hpp>

#include "replies.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using detail::Loss;
using detail::Renewal;
using detail::Renewer;
using detail::Tenure;
using detail::TimePoint;

constexpr std::uint64_t here = 7;
constexpr TimePoint start{1000s};

class RenewerTest : public testing::Test {
 protected:
  Tenure& opened(std::chrono::milliseconds ttl = 9s, bool renews = true,
                 TimePoint until = TimePoint::max()) {
    Tenure& tenure = renewer.open();
    tenure.begin(detail::Lease("token", here), "job");
    tenure.renew_by(exclusive.extend("token", ttl),
                    {.ttl = ttl, .renews = renews, .since = start, .renew_until = until});
    tenure.confirm(start, ttl);
    return tenure;
  }
  Tenure& held(std::chrono::milliseconds ttl = 9s, bool renews = true,
               TimePoint until = TimePoint::max()) {
    Tenure& tenure = opened(ttl, renews, until);
    renewer.keep(tenure);
    return tenure;
  }
  /// How many are due; they are sent.
  std::size_t picked(TimePoint now) {
    const std::size_t count = renewer.pick(now).size();
    renewer.picked_up();
    return count;
  }
  /// True when there is a loss to tell.
  bool answered(Tenure& tenure, const protocol::Reply& reply, TimePoint sent) {
    return outcome(tenure, reply, sent) == Renewer::Answered::lost;
  }
  Renewer::Answered outcome(Tenure& tenure, const protocol::Reply& reply, TimePoint sent) {
    Renewal renewal;
    renewal.begin(tenure);
    return renewer.answered(renewal, reply, sent, sent + 1ms);
  }
  void failed(Tenure& tenure, TimePoint sent) {
    renewer.failed(tenure, tenure.upkeep().ttl, sent, sent + 1ms);
  }

  Renewer renewer{};
  const protocol::Exclusive exclusive{"job"};
};

TEST_F(RenewerTest, RenewsAfterAThirdOfTheTtl) {
  Tenure& tenure = held();
  EXPECT_EQ(renewer.due(), start + 3s);
  EXPECT_EQ(picked(start + 2s), 0U);
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_FALSE(answered(tenure, integer(1), start + 3s));
  EXPECT_EQ(tenure.valid_until(), start + 12s - 92ms);
  EXPECT_EQ(renewer.due(), start + 6s);
  EXPECT_EQ(picked(start + 5s), 0U);
  EXPECT_EQ(picked(start + 6s), 1U);
}

TEST_F(RenewerTest, TakesThoseAlongThatAreDueALittleLater) {
  held(9s);
  held(9200ms);
  held(20s);
  EXPECT_EQ(picked(start + 3s), 2U);
}

TEST_F(RenewerTest, AsksOnceUntilThereIsAnAnswer) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(renewer.awaits_answers());
  EXPECT_EQ(picked(start + 4s), 0U);
  EXPECT_FALSE(answered(tenure, integer(1), start + 3s));
  EXPECT_FALSE(renewer.awaits_answers());
}

TEST_F(RenewerTest, PicksSoManyAtOnceAndNoMore) {
  for (int i = 0; i < 300; ++i) held();
  EXPECT_EQ(picked(start + 3s), 256U);
  EXPECT_LE(renewer.due(), start + 3s);
  EXPECT_EQ(picked(start + 3s), 44U);
}

TEST_F(RenewerTest, TriesAgainUntilTheLossHasToBeTold) {
  Tenure& tenure = held();
  TimePoint now = start + 3s;
  int tries = 0;
  while (picked(now) == 1) {
    failed(tenure, now);
    ++tries;
    EXPECT_EQ(renewer.due(), std::min(now + 301ms, tenure.notice_at()));
    now = renewer.due();
  }
  EXPECT_EQ(tries, 19);
  EXPECT_EQ(now, start + 9s - 92ms - 450ms);
  EXPECT_TRUE(renewer.next_loss());
}

TEST_F(RenewerTest, TriesAgainWhatCouldNotBeSentAtAll) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.failed(tenure, 9s, TimePoint{}, start + 3s);
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerTest, DoesNotRelyOnWhatMayBeCarriedOutLate) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(tenure, start + 3s);
  renewer.take_back(tenure);
  tenure.confirm(start + 4s, 60s);  // an extension for longer
  EXPECT_EQ(tenure.valid_until(), start + 4s + 9s - 92ms);
}

TEST_F(RenewerTest, TakesARefusalForAFailure) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_FALSE(answered(tenure, refusal("READONLY You can't write"), start + 3s));
  EXPECT_FALSE(tenure.is_lost());
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerTest, TellsTheLossWhenTheServerSaysSo) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, integer(0), start + 3s));
  EXPECT_FALSE(tenure.valid(start + 3s, here));
  const std::optional<Loss> loss = renewer.next_loss();
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->key, "job");
  EXPECT_EQ(loss->since, start);
  EXPECT_FALSE(renewer.next_loss());
}

TEST_F(RenewerTest, TakesAKeyOfAnotherKindForALoss) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, refusal("WRONGTYPE Operation against a key"), start + 3s));
}

TEST_F(RenewerTest, TellsTheLossBeforeTheEndOfValidity) {
  Tenure& tenure = held(1s, false);
  EXPECT_EQ(tenure.valid_until(), start + 988ms);
  EXPECT_EQ(renewer.due(), start + 938ms);
  EXPECT_EQ(renewer.first_notice(), start + 938ms);
  EXPECT_EQ(picked(start + 938ms - 1ns), 0U);
  EXPECT_FALSE(renewer.next_loss());
  EXPECT_EQ(picked(start + 938ms), 0U);
  EXPECT_FALSE(tenure.valid(start + 938ms, here));
  EXPECT_EQ(renewer.due(), TimePoint{}) << "long ago, and no overflow when now is subtracted";
  EXPECT_TRUE(renewer.next_loss());
  EXPECT_EQ(renewer.due(), TimePoint::max());
}

TEST_F(RenewerTest, TellsTheLossOfAShortLeaseTwoMillisecondsAhead) {
  Tenure& tenure = held(10ms, false);
  EXPECT_EQ(tenure.notice_at(), start + 10ms - 2100us - 2ms);
}

TEST_F(RenewerTest, DoesNotReviveWhatIsLost) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_EQ(picked(start + 9s), 0U);
  EXPECT_TRUE(renewer.next_loss());
  EXPECT_FALSE(answered(tenure, integer(1), start + 8s));
  EXPECT_FALSE(tenure.valid(start + 9s, here));
}

TEST_F(RenewerTest, StopsRenewingAtTheLimit) {
  Tenure& tenure = held(9s, true, start + 4s);
  EXPECT_EQ(picked(start + 3s), 1U);
  answered(tenure, integer(1), start + 3s);
  EXPECT_EQ(picked(start + 11s), 0U);
  EXPECT_EQ(renewer.due(), tenure.notice_at());
}

TEST_F(RenewerTest, DoesNotTryAgainBehindTheLimit) {
  Tenure& tenure = held(9s, true, start + 3100ms);
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(tenure, start + 3s);
  EXPECT_EQ(renewer.due(), tenure.notice_at());
}

TEST_F(RenewerTest, LeavesAloneWhatWasTakenBack) {
  Tenure& tenure = held();
  renewer.take_back_for_good(tenure);
  EXPECT_EQ(picked(start + 1h), 0U);
  EXPECT_FALSE(renewer.next_loss());
}

TEST_F(RenewerTest, ForgetsALossThatWasNotToldBeforeTheRelease) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, integer(0), start + 3s));
  renewer.take_back_for_good(tenure);
  EXPECT_FALSE(renewer.next_loss());
}

TEST_F(RenewerTest, CountsAnAnswerThatComesDuringAnExtension) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.take_back(tenure);
  EXPECT_FALSE(answered(tenure, integer(1), start + 3s));
  EXPECT_EQ(tenure.valid_until(), start + 12s - 92ms);
  renewer.keep(tenure);
  EXPECT_EQ(renewer.due(), start + 6s);
}

TEST_F(RenewerTest, TellsALossThatWasFoundDuringAnExtension) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.take_back(tenure);
  EXPECT_FALSE(answered(tenure, integer(0), start + 3s));
  EXPECT_TRUE(renewer.keep(tenure));
  EXPECT_TRUE(renewer.next_loss());
}

TEST_F(RenewerTest, DoesNotCountAnAnswerAfterTheRelease) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.take_back_for_good(tenure);
  EXPECT_EQ(tenure.end().token(), "token");
  EXPECT_FALSE(answered(tenure, integer(1), start + 3s));
  EXPECT_FALSE(tenure.valid(start + 3s, here));
}

TEST_F(RenewerTest, UsesATenureAgainOnlyWhenItsAnswerHasCome) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.take_back_for_good(tenure);
  renewer.close(tenure);
  Tenure& other = renewer.open();
  EXPECT_NE(&other, &tenure);
  EXPECT_FALSE(answered(tenure, integer(1), start + 3s));
  EXPECT_EQ(&renewer.open(), &tenure);
}

TEST_F(RenewerTest, UsesATenureAgain) {
  Tenure& tenure = held();
  const std::stop_token before = renewer.lost_token(tenure);
  renewer.take_back_for_good(tenure);
  tenure.end();
  renewer.close(tenure);
  EXPECT_EQ(&renewer.open(), &tenure);
  EXPECT_FALSE(tenure.exists(here));
  EXPECT_NE(renewer.lost_token(tenure), before);
}

TEST_F(RenewerTest, SaysWhenTheThreadHasToLookSooner) {
  EXPECT_TRUE(renewer.keep(opened(9s)));
  EXPECT_FALSE(renewer.keep(opened(9s)));
  EXPECT_FALSE(renewer.keep(opened(60s)));
  EXPECT_TRUE(renewer.keep(opened(1s)));
}

TEST_F(RenewerTest, TellsThoseWhoAskedForIt) {
  Tenure& tenure = held();
  const std::stop_token token = renewer.lost_token(tenure);
  EXPECT_EQ(token, renewer.lost_token(tenure));
  EXPECT_EQ(picked(start + 9s), 0U);
  std::optional<Loss> loss = renewer.next_loss();
  ASSERT_TRUE(loss);
  EXPECT_FALSE(token.stop_requested());
  loss->told.request_stop();
  EXPECT_TRUE(token.stop_requested());
}

TEST_F(RenewerTest, TellsThoseWhoAskLater) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 9s), 0U);
  EXPECT_TRUE(renewer.next_loss());
  EXPECT_TRUE(renewer.lost_token(tenure).stop_requested());
}

TEST_F(RenewerTest, LetsNobodyTakeBackWhatIsAboutToBeSent) {
  Tenure& tenure = held();
  EXPECT_EQ(renewer.pick(start + 3s).size(), 1U);
  std::atomic<bool> sent = false;
  std::atomic<bool> sent_before = false;
  std::atomic<bool> begun = false;
  std::jthread owner([&] {
    begun = true;
    renewer.take_back_for_good(tenure);
    sent_before = sent.load();
  });
  while (!begun) std::this_thread::yield();
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  sent = true;
  renewer.picked_up();
  owner.join();
  EXPECT_TRUE(sent_before);
}

TEST_F(RenewerTest, TellsALossOnce) {
  Tenure& tenure = held();
  tenure.lose();
  EXPECT_EQ(picked(start + 3s), 0U);
  EXPECT_TRUE(renewer.next_loss());
  renewer.take_back(tenure);
  EXPECT_FALSE(renewer.keep(tenure));
  EXPECT_FALSE(renewer.next_loss());
  EXPECT_TRUE(renewer.take_back_for_good(tenure));
}

TEST_F(RenewerTest, RenewsNothingThatIsSuspended) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.suspend(tenure);
  failed(tenure, start + 3s);
  EXPECT_EQ(picked(start + 4s), 0U);
  EXPECT_EQ(renewer.held(), 1U);
  renewer.take_back(tenure);
  renewer.keep(tenure);
  EXPECT_EQ(picked(start + 4s), 1U);
}

TEST_F(RenewerTest, TellsTheLossOfWhatIsSuspended) {
  Tenure& tenure = held();
  renewer.suspend(tenure);
  EXPECT_LE(renewer.due(), tenure.notice_at());
  EXPECT_EQ(picked(tenure.notice_at()), 0U);
  EXPECT_TRUE(renewer.next_loss());
  EXPECT_TRUE(tenure.is_lost());
}

TEST_F(RenewerTest, CountsNoAnswerOnceTheLossIsTold) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  picked(tenure.notice_at());
  ASSERT_TRUE(renewer.next_loss());
  EXPECT_EQ(outcome(tenure, integer(1), start + 3s), Renewer::Answered::too_late);
  EXPECT_FALSE(renewer.awaits_answers());
}

TEST_F(RenewerTest, CountsAnAnswerInTime) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_EQ(outcome(tenure, integer(1), start + 3s), Renewer::Answered::counted);
}

TEST_F(RenewerTest, WantsNothingSaidBehindARelease) {
  Tenure& kept = held();
  Tenure& over = held();
  Tenure& closed = held();
  EXPECT_EQ(picked(start + 3s), 3U);
  renewer.take_back_for_good(over);
  renewer.take_back_for_good(closed);
  renewer.close(closed);
  EXPECT_TRUE(renewer.is_wanted(kept));
  EXPECT_FALSE(renewer.is_wanted(over));
  EXPECT_FALSE(renewer.is_wanted(closed));
  EXPECT_EQ(&opened(), &closed) << "it is free again";
}

TEST_F(RenewerTest, CountsByTheTtlThatIsCertain) {
  Tenure& tenure = held(10s);
  tenure.doubt(start + 1s, 1s);
  EXPECT_EQ(tenure.valid_until(), start + 2s - 12ms);
  EXPECT_EQ(tenure.notice_at(), tenure.valid_until() - 50ms);
  tenure.confirm(start + 1s, 10s);
  renewer.keep(tenure);
  EXPECT_EQ(picked(start + 1s + 330ms), 1U);
}

TEST_F(RenewerTest, KeepsNothingInAForkedChild) {
  Tenure& kept = held();
  Tenure& lost = held(1s);
  EXPECT_EQ(picked(start + 2s), 0U);
  EXPECT_TRUE(lost.is_lost());
  renewer.before_fork();
  renewer.after_fork_in_child();
  EXPECT_EQ(renewer.due(), TimePoint::max());
  EXPECT_EQ(picked(start + 1h), 0U);
  EXPECT_FALSE(renewer.next_loss());
  renewer.close(kept);
  renewer.close(lost);
}

}  // namespace
}  // namespace redlatch::test
