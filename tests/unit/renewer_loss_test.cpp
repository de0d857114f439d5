// When the loss of a lease is notified, and by which means.

#include <poll.h>

#include <array>
#include <optional>
#include <stop_token>
#include <string>

#include "base/event_fd.hpp"
#include "net/poll.hpp"
#include "renewer_fixture.hpp"

namespace redlatch::test {
namespace renewer_loss_test {

TEST_F(RenewerLeases, TellsTheLossWhenTheServerSaysSo) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(lease, integer(0), start + 3s));
  EXPECT_FALSE(lease.valid(start + 3s, here));
  const std::optional<detail::Loss> loss = renewer.next_loss(start + 4s);
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->key, "job");
  EXPECT_EQ(loss->held, 4s);
  EXPECT_FALSE(renewer.next_loss({}));
}

/// As after a suspended process goes on.
TEST_F(RenewerLeases, CountNoTimeBeyondTheLeaseAsHeld) {
  held();
  const std::optional<detail::Loss> loss = renewer.next_loss(start + 1h);
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->held, 9s);
}

/// What a loss says of itself.
class RenewerLoss : public RenewerLeases {
 protected:
  detail::Loss lost_at(TimePoint now) {
    const std::optional<detail::Loss> loss = renewer.next_loss(now);
    EXPECT_TRUE(loss);
    return loss.value_or(detail::Loss{});
  }
  static detail::Failure away() {
    return {make_error_code(Errc::unreachable), "cannot connect: Connection refused"};
  }
};

TEST_F(RenewerLoss, SaysThatTheServerDoesNotHaveIt) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(lease, start + 3s, away());
  EXPECT_EQ(picked(start + 4s), 1U);
  EXPECT_TRUE(answered(lease, integer(0), start + 4s));
  const detail::Loss loss = lost_at(start + 4s);
  EXPECT_EQ(loss.explanation, detail::is_not_ours);
  EXPECT_FALSE(loss.code);
}

/// As `verify` or an extension of the lock's own thread has found.
TEST_F(RenewerLoss, SaysThatTheServerDoesNotHaveItWhereItsThreadWasTold) {
  Lease& lease = held();
  renewer.suspend(lease);
  lease.lose();
  EXPECT_EQ(picked(start + 20s), 0U) << "the thread has not kept it again yet";
  renewer.pause_renewal(lease);
  renewer.keep(lease);
  EXPECT_EQ(lost_at(start + 20s).explanation, detail::is_not_ours);
}

TEST_F(RenewerLoss, SaysHowTheLastRenewalHasFailed) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(lease, start + 3s, {make_error_code(Errc::timed_out), "no answer"});
  EXPECT_EQ(picked(start + 6s), 1U);
  failed(lease, start + 6s, away());
  const detail::Loss loss = lost_at(start + 9s);
  EXPECT_EQ(loss.code, Errc::unreachable);
  EXPECT_EQ(loss.explanation,
            "it was not renewed in time; the last attempt: cannot connect: Connection refused");
}

TEST_F(RenewerLoss, SaysHowTheLastRenewalWasRefused) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_FALSE(answered(lease, refusal("OOM command not allowed"), start + 3s));
  const detail::Loss loss = lost_at(start + 9s);
  EXPECT_EQ(loss.code, Errc::not_writable);
  EXPECT_NE(loss.explanation.find("OOM"), std::string::npos) << loss.explanation;
}

TEST_F(RenewerLoss, SaysThatTheLastRenewalHasNoAnswer) {
  held();
  EXPECT_EQ(picked(start + 3s), 1U);
  const detail::Loss loss = lost_at(start + 9s);
  EXPECT_EQ(loss.code, Errc::timed_out);
  EXPECT_EQ(loss.explanation, "it was not renewed in time");
}

TEST_F(RenewerLoss, SaysNothingOfFailuresBeforeARenewal) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  failed(lease, start + 3s, away());
  EXPECT_EQ(picked(start + 4s), 1U);
  EXPECT_FALSE(answered(lease, integer(1), start + 4s));
  const detail::Loss loss = lost_at(start + 1h);
  EXPECT_FALSE(loss.code);
  EXPECT_EQ(loss.explanation, "it was not renewed in time");
}

TEST_F(RenewerLoss, SaysThatItIsNotRenewed) {
  held(9s, false);
  const detail::Loss loss = lost_at(start + 9s);
  EXPECT_FALSE(loss.code);
  EXPECT_NE(loss.explanation.find("it is not renewed"), std::string::npos) << loss.explanation;
}

/// Nor is anything due in the distant past, from where no time can be counted without overflow.
TEST_F(RenewerLeases, HasNothingDueForALossThatIsTold) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(lease, integer(0), start + 3s));
  EXPECT_EQ(renewer.next_loss_at(), TimePoint{});
  ASSERT_TRUE(renewer.next_loss({}));
  EXPECT_GE(renewer.due(), start);
  EXPECT_EQ(renewer.first_loss(), TimePoint::max());
}

TEST_F(RenewerLeases, TakesAKeyOfAnotherKindForALoss) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(lease, refusal("WRONGTYPE Operation against a key"), start + 3s));
}

TEST_F(RenewerLeases, TellsTheLossBeforeTheEndOfValidity) {
  Lease& lease = held(1s, false);
  EXPECT_EQ(lease.valid_until(), start + 988ms);
  EXPECT_EQ(renewer.next_loss_at(), start + 938ms);
  EXPECT_EQ(renewer.first_loss(), start + 938ms);
  EXPECT_EQ(picked(start + 938ms - 1ns), 0U);
  EXPECT_FALSE(renewer.next_loss({}));
  EXPECT_EQ(picked(start + 938ms), 0U);
  EXPECT_FALSE(lease.valid(start + 938ms, here));
  EXPECT_EQ(renewer.next_loss_at(), TimePoint{})
      << "long ago, and no overflow when now is subtracted";
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_EQ(renewer.due(), TimePoint::max());
}

TEST_F(RenewerLeases, TellsTheLossOfAShortLeaseTwoMillisecondsAhead) {
  Lease& lease = held(10ms, false);
  EXPECT_EQ(lease.notify_loss_at(), start + 10ms - 2100us - 2ms);
}

TEST_F(RenewerLeases, DoesNotReviveWhatIsLost) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_EQ(picked(start + 9s), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_FALSE(answered(lease, integer(1), start + 8s));
  EXPECT_FALSE(lease.valid(start + 9s, here));
}

TEST_F(RenewerLeases, ForgetsALossThatWasNotToldBeforeTheRelease) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  EXPECT_TRUE(answered(lease, integer(0), start + 3s));
  renewer.detach(lease);
  EXPECT_FALSE(renewer.next_loss({}));
}

TEST_F(RenewerLeases, TellsALossThatWasFoundDuringAnExtension) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.pause_renewal(lease);
  EXPECT_FALSE(answered(lease, integer(0), start + 3s));
  EXPECT_TRUE(renewer.keep(lease));
  EXPECT_TRUE(renewer.next_loss({}));
}

TEST_F(RenewerLeases, TellsThoseWhoAskedForIt) {
  Lease& lease = held();
  const std::stop_token token = renewer.lost_token(lease);
  EXPECT_EQ(token, renewer.lost_token(lease));
  EXPECT_EQ(picked(start + 9s), 0U);
  std::optional<detail::Loss> loss = renewer.next_loss({});
  ASSERT_TRUE(loss);
  EXPECT_FALSE(token.stop_requested());
  loss->notified.request_stop();
  EXPECT_TRUE(token.stop_requested());
}

TEST_F(RenewerLeases, TellsThoseWhoAskLater) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 9s), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_TRUE(renewer.lost_token(lease).stop_requested());
}

TEST_F(RenewerLeases, TellsALossOnce) {
  Lease& lease = held();
  lease.lose();
  EXPECT_EQ(picked(start + 3s), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  renewer.pause_renewal(lease);
  EXPECT_FALSE(renewer.keep(lease));
  EXPECT_FALSE(renewer.next_loss({}));
  EXPECT_TRUE(renewer.detach(lease));
}

TEST_F(RenewerLeases, TellsTheLossOfWhatIsSuspended) {
  Lease& lease = held();
  renewer.suspend(lease);
  EXPECT_LE(renewer.due(), lease.notify_loss_at());
  EXPECT_EQ(picked(lease.notify_loss_at()), 0U);
  EXPECT_TRUE(renewer.next_loss({}));
  EXPECT_TRUE(lease.is_lost());
}

TEST_F(RenewerLeases, CountsNoAnswerOnceTheLossIsTold) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  picked(lease.notify_loss_at());
  ASSERT_TRUE(renewer.next_loss({}));
  EXPECT_EQ(outcome(lease, integer(1), start + 3s), Renewer::Answered::too_late);
  EXPECT_FALSE(renewer.awaits_answers());
}

/// As that to a renewal of several servers, which is taken in behind what the lock's own thread
/// asked later.
TEST_F(RenewerLeases, TakesAnOldAnswerForNoMoreThanItIs) {
  Lease& lease = held(9s);
  EXPECT_EQ(picked(start + 3s), 1U);
  lease.confirm({start + 3s + 1ms}, 100ms);
  const TimePoint end = lease.valid_until();
  EXPECT_FALSE(answered(
      lease, protocol::Reply{.kind = protocol::Reply::Kind::integer, .integer = 1}, start + 3s));
  EXPECT_EQ(lease.valid_until(), end);
}

/// The background thread reads what is to be renewed, while any thread may find that it is lost.
TEST_F(RenewerLeases, TellsNoLossOfWhatIsPicked) {
  detail::EventFd notifier;
  notifier.open();
  renewer.notify(notifier);
  const Lease& lease = held();
  ASSERT_EQ(renewer.pick(start + 3s).size(), 1U);
  EXPECT_FALSE(renewer.next_loss(start + 9s));
  EXPECT_EQ(renewer.next_loss_at(), TimePoint::max());
  EXPECT_EQ(lease.key(), "job");
  notifier.clear();
  renewer.picked_up();
  std::array<pollfd, 1> woken{{{.fd = notifier.fd(), .events = POLLIN, .revents = 0}}};
  EXPECT_EQ(detail::poll_until(woken, {}), 1);
  EXPECT_EQ(renewer.next_loss_at(), TimePoint{});
  EXPECT_TRUE(renewer.next_loss(start + 9s));
}

}  // namespace renewer_loss_test
}  // namespace redlatch::test
