// When the loss of a lease is told, and to whom.

#include <poll.h>

#include <array>
#include <optional>
#include <stop_token>

#include "net/poll.hpp"
#include "renewer_fixture.hpp"
#include "base/event_fd.hpp"

namespace redlatch::test {
namespace renewer_loss_test {

TEST_F(RenewerTest, TellsTheLossWhenTheServerSaysSo) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, integer(0), start + 3s));
  EXPECT_FALSE(tenure.valid(start + 3s, here));
  const std::optional<detail::Loss> loss = renewer.next_loss({});
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->key, "job");
  EXPECT_EQ(loss->since, start);
  EXPECT_FALSE(renewer.next_loss({}));
}

/// Nor is anything due in the distant past, from where no time can be counted without overflow.
TEST_F(RenewerTest, HasNothingDueForALossThatIsTold) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, integer(0), start + 3s));
  EXPECT_EQ(renewer.next_notice(), TimePoint{});
  ASSERT_TRUE(renewer.next_loss({}));
  EXPECT_GE(renewer.due(), start);
  EXPECT_EQ(renewer.first_notice(), TimePoint::max());
}

TEST_F(RenewerTest, TakesAKeyOfAnotherKindForALoss) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, refusal("WRONGTYPE Operation against a key"), start + 3s));
}

TEST_F(RenewerTest, TellsTheLossBeforeTheEndOfValidity) {
  Tenure& tenure = held(1s, false);
  EXPECT_EQ(tenure.valid_until(), start + 988ms);
  EXPECT_EQ(renewer.next_notice(), start + 938ms);
  EXPECT_EQ(renewer.first_notice(), start + 938ms);
  EXPECT_EQ(picked(start + 938ms - 1ns), 0U);
  EXPECT_FALSE(renewer.next_loss({}));
  EXPECT_EQ(picked(start + 938ms), 0U);
  EXPECT_FALSE(tenure.valid(start + 938ms, here));
  EXPECT_EQ(renewer.next_notice(), TimePoint{})
      << "long ago, and no overflow when now is subtracted";
  EXPECT_TRUE(renewer.next_loss({}));
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
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_FALSE(answered(tenure, integer(1), start + 8s));
  EXPECT_FALSE(tenure.valid(start + 9s, here));
}

TEST_F(RenewerTest, ForgetsALossThatWasNotToldBeforeTheRelease) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(tenure, integer(0), start + 3s));
  renewer.take_back_for_good(tenure);
  EXPECT_FALSE(renewer.next_loss({}));
}

TEST_F(RenewerTest, TellsALossThatWasFoundDuringAnExtension) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.take_back(tenure);
  EXPECT_FALSE(answered(tenure, integer(0), start + 3s));
  EXPECT_TRUE(renewer.keep(tenure));
  EXPECT_TRUE(renewer.next_loss({}));
}

TEST_F(RenewerTest, TellsThoseWhoAskedForIt) {
  Tenure& tenure = held();
  const std::stop_token token = renewer.lost_token(tenure);
  EXPECT_EQ(token, renewer.lost_token(tenure));
  EXPECT_EQ(picked(start + 9s), 0U);
  std::optional<detail::Loss> loss = renewer.next_loss({});
  ASSERT_TRUE(loss);
  EXPECT_FALSE(token.stop_requested());
  loss->told.request_stop();
  EXPECT_TRUE(token.stop_requested());
}

TEST_F(RenewerTest, TellsThoseWhoAskLater) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 9s), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_TRUE(renewer.lost_token(tenure).stop_requested());
}

TEST_F(RenewerTest, TellsALossOnce) {
  Tenure& tenure = held();
  tenure.lose();
  EXPECT_EQ(picked(start + 3s), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  renewer.take_back(tenure);
  EXPECT_FALSE(renewer.keep(tenure));
  EXPECT_FALSE(renewer.next_loss({}));
  EXPECT_TRUE(renewer.take_back_for_good(tenure));
}

TEST_F(RenewerTest, TellsTheLossOfWhatIsSuspended) {
  Tenure& tenure = held();
  renewer.suspend(tenure);
  EXPECT_LE(renewer.due(), tenure.notice_at());
  EXPECT_EQ(picked(tenure.notice_at()), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_TRUE(tenure.is_lost());
}

TEST_F(RenewerTest, CountsNoAnswerOnceTheLossIsTold) {
  Tenure& tenure = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  picked(tenure.notice_at());
  ASSERT_TRUE(renewer.next_loss({}));
  EXPECT_EQ(outcome(tenure, integer(1), start + 3s), Renewer::Answered::too_late);
  EXPECT_FALSE(renewer.awaits_answers());
}

/// As that to a renewal of several servers, which is taken in behind what the lock's own thread
/// asked later.
TEST_F(RenewerTest, TakesAnOldAnswerForNoMoreThanItIs) {
  Tenure& tenure = held(9s);
  EXPECT_EQ(picked(start + 3s), 1U);
  tenure.confirm({start + 3s + 1ms}, 100ms);
  const TimePoint end = tenure.valid_until();
  EXPECT_FALSE(answered(
      tenure, protocol::Reply{.kind = protocol::Reply::Kind::integer, .integer = 1}, start + 3s));
  EXPECT_EQ(tenure.valid_until(), end);
}

/// The background thread reads what is to be renewed, while any thread may find that it is lost.
TEST_F(RenewerTest, TellsNoLossOfWhatIsPicked) {
  detail::WakeUp notifier;
  notifier.open();
  renewer.notify(notifier);
  const Tenure& tenure = held();
  ASSERT_EQ(renewer.pick(start + 3s).size(), 1U);
  EXPECT_FALSE(renewer.next_loss(start + 9s));
  EXPECT_EQ(renewer.next_notice(), TimePoint::max());
  EXPECT_EQ(tenure.key(), "job");
  notifier.clear();
  renewer.picked_up();
  std::array<pollfd, 1> woken{{{.fd = notifier.fd(), .events = POLLIN, .revents = 0}}};
  EXPECT_EQ(detail::poll_until(woken, {}), 1);
  EXPECT_EQ(renewer.next_notice(), TimePoint{});
  EXPECT_TRUE(renewer.next_loss(start + 9s));
}

}  // namespace renewer_loss_test
}  // namespace redlatch::test
