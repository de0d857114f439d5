// What all classes have in common with Lock.

#include "family.hpp"

#include <algorithm>
#include <fstream>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "process.hpp"

namespace redlatch::test {
namespace {

template <class Member>
class Family : public FamilyTest {
 protected:
  using Kind = typename Member::Kind;

  std::unique_ptr<ContenderFor<Kind>> contender(const LockOptions& options = long_lease,
                                                const ClientOptions& patience = patient()) {
    return std::make_unique<ContenderFor<Kind>>(
        Client(server.url(), patience), [&](Client& own) { return Member::make(own, options); });
  }

  Client other = another();
};

using Members = testing::Types<Fair, Write, Recursive, One>;
TYPED_TEST_SUITE(Family, Members);

TYPED_TEST(Family, HasOneHolderAtATime) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  auto second = TypeParam::make(this->other);
  EXPECT_FALSE(second.try_lock());
  EXPECT_FALSE(second.try_lock_for(30ms));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(second.try_lock());
  EXPECT_EQ(this->raw.command({"TYPE", "job"}).text, TypeParam::type);
}

TYPED_TEST(Family, LeavesNothingBehind) {
  TypeParam::make(this->client).lock();
  EXPECT_TRUE(this->is_empty());
}

TYPED_TEST(Family, ExcludesProcesses) {
  const std::string file = this->server.directory() + "/number";
  std::vector<std::unique_ptr<Process>> processes;
  for (int i = 0; i < 4; ++i) {
    processes.push_back(std::make_unique<Process>(std::vector<std::string>{
        REDLATCH_WORKER, this->server.url(), "job", file, TypeParam::worker}));
  }
  for (const auto& process : processes) process->write_line("add 100");
  for (const auto& process : processes) EXPECT_EQ(process->read_line(), "done");
  EXPECT_TRUE(this->is_empty());
  long number = 0;
  std::ifstream(file) >> number;
  EXPECT_EQ(number, 400);
}

TYPED_TEST(Family, IsGrantedToWhoWaits) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  auto first = this->contender();
  ASSERT_TRUE(this->is_queued(1));
  auto second = this->contender();
  ASSERT_TRUE(this->is_queued(2));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  ASSERT_TRUE(first->has_it());
  EXPECT_FALSE(second->held);
  first->ends();
  ASSERT_TRUE(second->has_it());
  second->ends();
  EXPECT_TRUE(this->is_empty());
}

TYPED_TEST(Family, IsNotOvertakenByASingleAttempt) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  auto waiter = this->contender();
  ASSERT_TRUE(this->is_queued(1));
  lock.unlock();
  EXPECT_FALSE(TypeParam::make(this->other).try_lock());
  EXPECT_TRUE(waiter->has_it());
}

TYPED_TEST(Family, IsGrantedWhenTheLeaseOfADeadHolderEnds) {
  auto dead = TypeParam::make(this->client, {.ttl = 500ms, .auto_renew = false});
  dead.lock();
  auto waiter = this->contender();
  EXPECT_TRUE(waiter->has_it());
  EXPECT_EQ(dead.unlock(), Unlock::lost);
  EXPECT_TRUE(waiter->lock.verify());
}

TYPED_TEST(Family, IsRenewed) {
  auto lock = TypeParam::make(this->client, {.ttl = 300ms});
  lock.lock();
  EXPECT_TRUE(eventually([&] { return this->client.metrics().renewed >= 4; }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_FALSE(TypeParam::make(this->other).try_lock());
}

TYPED_TEST(Family, IsRenewedWhenItWasGranted) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  auto waiter = this->contender({.ttl = 300ms});
  ASSERT_TRUE(this->is_queued(1));
  lock.unlock();
  ASSERT_TRUE(waiter->has_it());
  EXPECT_TRUE(eventually([&] { return waiter->client().metrics().renewed >= 4; }));
  EXPECT_TRUE(waiter->lock.owns_lock());
}

TYPED_TEST(Family, TellsALoss) {
  auto lock = TypeParam::make(this->client, {.ttl = 600ms});
  lock.lock();
  const std::stop_token lost = lock.lost_token();
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

TYPED_TEST(Family, IsExtendedAndVerified) {
  auto lock = TypeParam::make(this->client, {.ttl = 1min, .auto_renew = false});
  EXPECT_FALSE(lock.extend());
  lock.lock();
  EXPECT_TRUE(lock.extend(1h));
  EXPECT_GT(lock.remaining(), 50min);
  EXPECT_GT(this->raw.pttl("job"), 3'500'000);
  EXPECT_TRUE(lock.verify());
  this->raw.command({"DEL", "job"});
  EXPECT_FALSE(lock.verify());
  EXPECT_FALSE(lock.extend());
}

TYPED_TEST(Family, IsLeftByAWaitThatIsCancelledOrOver) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  auto cancelled = this->contender();
  ASSERT_TRUE(this->is_queued(1));
  auto waiter = this->contender();
  ASSERT_TRUE(this->is_queued(2));
  cancelled->cancel();
  EXPECT_TRUE(cancelled->is_cancelled());
  EXPECT_FALSE(TypeParam::make(this->other).try_lock_for(50ms));
  ASSERT_TRUE(this->is_queued(1));
  lock.unlock();
  EXPECT_TRUE(waiter->has_it());
}

TYPED_TEST(Family, GoesOnAfterAFlushAndARestart) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  this->raw.command({"SCRIPT", "FLUSH"});
  EXPECT_TRUE(lock.extend());
  this->raw.command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  auto waiter = this->contender(long_lease, less_patient());
  ASSERT_TRUE(waiter->has_it());
  auto second = this->contender(long_lease, less_patient());
  ASSERT_TRUE(this->is_queued(1));
  this->server.kill();
  this->server.start();
  EXPECT_TRUE(second->has_it());
}

TYPED_TEST(Family, HasALabelBehindItsToken) {
  auto lock = TypeParam::make(this->client, {.ttl = 1min, .label = "who I am"});
  lock.lock();
  const std::string value = this->raw.command({"TYPE", "job"}).text == "string"
                                ? this->raw.get("job")
                                : this->raw.command({"ZRANGE", "job", "0", "0"}).elements[0].text;
  EXPECT_TRUE(value.ends_with(lock.token() + " who I am")) << value;
}

TYPED_TEST(Family, RefusesAKeyOfAnotherKind) {
  this->raw.command({"RPUSH", "job", "x"});
  auto lock = TypeParam::make(this->client);
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::wrong_type);
  EXPECT_EQ(this->queued(), 0);
}

TYPED_TEST(Family, NeedsScripts) {
  Client without(this->server.url(), {.scripting = false});
  EXPECT_EQ(error_of([&] { TypeParam::make(without); }), Errc::unsupported);
}

TYPED_TEST(Family, IsMovedWithWhatItHolds) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  auto moved = std::move(lock);
  EXPECT_TRUE(moved.owns_lock());
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(moved.unlock(), Unlock::released);
}

TYPED_TEST(Family, IsThreadSafeForManyObjectsOfOneClient) {
  int inside = 0;
  int most = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      auto lock = TypeParam::make(this->client);
      for (int round = 0; round < 25; ++round) {
        lock.lock();
        most = std::max(most, ++inside);
        --inside;
        EXPECT_EQ(lock.unlock(), Unlock::released);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(most, 1);
  EXPECT_TRUE(this->is_empty());
}

/// A process that queues up with a lease of a second, and is in trouble then.
template <class Member>
class FamilyInTrouble : public Family<Member> {
 protected:
  Process process{{REDLATCH_WORKER, this->server.url(), "job", "/dev/null", Member::worker}};
};
TYPED_TEST_SUITE(FamilyInTrouble, Members);

TYPED_TEST(FamilyInTrouble, ThatIsKilledIsPassedOver) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  this->process.write_line("hold");
  ASSERT_TRUE(this->is_queued(1));
  auto waiter = this->contender();
  ASSERT_TRUE(this->is_queued(2));
  this->process.kill();
  lock.unlock();
  EXPECT_TRUE(waiter->has_it());
}

TYPED_TEST(FamilyInTrouble, ThatIsStoppedIsPassedOverInTheEnd) {
  auto lock = TypeParam::make(this->client);
  lock.lock();
  this->process.write_line("hold");
  ASSERT_TRUE(this->is_queued(1));
  auto waiter = this->contender();
  ASSERT_TRUE(this->is_queued(2));
  this->process.pause();
  lock.unlock();
  EXPECT_TRUE(waiter->has_it());
  this->process.resume();
  waiter->ends();
  EXPECT_EQ(this->process.read_line(), "held");
}

}  // namespace
}  // namespace redlatch::test
