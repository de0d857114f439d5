// Leases that are taken back while a renewal is on its way.

#include <atomic>
#include <stop_token>
#include <thread>

#include "renewer_fixture.hpp"

namespace redlatch::test {
namespace renewer_taken_back_test {

TEST_F(RenewerTest, LeavesAloneWhatWasTakenBack) {
  Tenure& tenure = held();
  renewer.take_back_for_good(tenure);
  EXPECT_EQ(picked(start + 1h), 0U);
  EXPECT_FALSE(renewer.next_loss({}));
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

TEST_F(RenewerTest, KeepsNothingInAForkedChild) {
  Tenure& kept = held();
  Tenure& lost = held(1s);
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
