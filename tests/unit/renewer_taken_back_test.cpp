// Leases that are taken back while a renewal is on its way.

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <stop_token>
#include <thread>

#include "eventually.hpp"
#include "renewer_fixture.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace renewer_taken_back_test {

TEST_F(RenewerLeases, LeavesAloneWhatWasTakenBack) {
  Lease& lease = held();
  renewer.detach(lease);
  EXPECT_EQ(picked(start + 1h), 0U);
  EXPECT_FALSE(renewer.next_loss({}));
}

TEST_F(RenewerLeases, CountsAnAnswerThatComesDuringAnExtension) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.pause_renewal(lease);
  EXPECT_FALSE(answered(lease, integer(1), start + 3s));
  EXPECT_EQ(lease.valid_until(), start + 12s - 92ms);
  renewer.keep(lease);
  EXPECT_EQ(renewer.due(), start + 6s);
}

TEST_F(RenewerLeases, DoesNotCountAnAnswerAfterTheRelease) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.detach(lease);
  EXPECT_EQ(lease.end().token(), "token");
  EXPECT_FALSE(answered(lease, integer(1), start + 3s));
  EXPECT_FALSE(lease.valid(start + 3s, here));
}

TEST_F(RenewerLeases, UsesATenureAgainOnlyWhenItsAnswerHasCome) {
  Lease& lease = held();
  EXPECT_EQ(picked(start + 3s), 1U);
  renewer.detach(lease);
  renewer.close(lease);
  Lease& other = renewer.open();
  EXPECT_NE(&other, &lease);
  EXPECT_FALSE(answered(lease, integer(1), start + 3s));
  EXPECT_EQ(&renewer.open(), &lease);
}

TEST_F(RenewerLeases, UsesATenureAgain) {
  Lease& lease = held();
  const std::stop_token before = renewer.lost_token(lease);
  renewer.detach(lease);
  lease.end();
  renewer.close(lease);
  EXPECT_EQ(&renewer.open(), &lease);
  EXPECT_FALSE(lease.exists(here));
  EXPECT_NE(renewer.lost_token(lease), before);
}

TEST_F(RenewerLeases, LetsNobodyTakeBackWhatIsAboutToBeSent) {
  Lease& lease = held();
  EXPECT_EQ(renewer.pick(start + 3s).size(), 1U);
  std::atomic<bool> sent = false;
  std::atomic<bool> sent_before = false;
  std::atomic<bool> returned = false;
  std::atomic<pid_t> id = 0;
  std::jthread owner([&] {
    id = ::gettid();
    renewer.detach(lease);
    sent_before = sent.load();
    returned = true;
  });
  EXPECT_TRUE(eventually([&] { return returned || (id != 0 && sleeps(id)); }));
  sent = true;
  renewer.picked_up();
  owner.join();
  EXPECT_TRUE(sent_before);
}

TEST_F(RenewerLeases, WantsNothingSaidBehindARelease) {
  Lease& kept = held();
  Lease& over = held();
  Lease& closed = held();
  EXPECT_EQ(picked(start + 3s), 3U);
  renewer.detach(over);
  renewer.detach(closed);
  renewer.close(closed);
  EXPECT_TRUE(renewer.is_wanted(kept));
  EXPECT_FALSE(renewer.is_wanted(over));
  EXPECT_FALSE(renewer.is_wanted(closed));
  EXPECT_EQ(&opened(), &closed) << "it is free again";
}

TEST_F(RenewerLeases, KeepsNothingInAForkedChild) {
  Lease& kept = held();
  Lease& lost = held(1s);
  EXPECT_EQ(picked(start + 2s), 0U);
  EXPECT_TRUE(lost.is_lost());
  renewer.before_fork();
  renewer.after_fork_in_child();
  EXPECT_EQ(renewer.due(), TimePoint::max());
  EXPECT_EQ(picked(start + 1h), 0U);
  EXPECT_FALSE(renewer.next_loss({}));
  renewer.close(kept);
  renewer.close(lost);
}

}  // namespace renewer_taken_back_test
}  // namespace redlatch::test
