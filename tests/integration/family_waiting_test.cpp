// What every class of the family has of waiting: a place in the queue, and nothing left of it.

#include <memory>
#include <string>
#include <vector>

#include "child.hpp"
#include "family.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace family_waiting_test {

template <class Classes>
class EveryLockWaiting : public FamilyTest<Classes> {
 protected:
  using Rival = test::Rival<typename Classes::Waiter>;

  void SetUp() override { this->holder.lock(); }
};
TYPED_TEST_SUITE(EveryLockWaiting, Pairs, );

TYPED_TEST(EveryLockWaiting, IsTurnedAwayFromWhatIsHeld) {
  const auto attempt = [&] {
    return deferred<typename TestFixture::Waiter>(this->client).try_lock();
  };
  EXPECT_FALSE(elsewhere(attempt));
  EXPECT_EQ(this->holder.unlock(), Unlock::released);
  EXPECT_TRUE(elsewhere(attempt));
}

TYPED_TEST(EveryLockWaiting, EndsByTheReleaseThatGrantsIt) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  EXPECT_FALSE(rival.held);
  EXPECT_EQ(this->holder.unlock(), Unlock::released);
  ASSERT_TRUE(rival.has_it());
  EXPECT_TRUE(this->is_at_the_server(rival.lock.token()));
  rival.ends();
  EXPECT_TRUE(this->is_empty());
}

TYPED_TEST(EveryLockWaiting, EndsWhenAGuardGoesOutOfScope) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  { const typename TestFixture::Holder gone(std::move(this->holder)); }
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockWaiting, GivesTheWholeTtl) {
  typename TestFixture::Rival rival(this->another(), {.ttl = 20s, .label = "me"});
  ASSERT_TRUE(this->is_queued(1));
  this->holder.unlock();
  ASSERT_TRUE(rival.has_it());
  EXPECT_GT(rival.lock.remaining(), 10s);
  EXPECT_LE(rival.lock.remaining(), 20s);
  EXPECT_TRUE(this->is_at_the_server(rival.lock.token() + " me"));
}

TYPED_TEST(EveryLockWaiting, OfThreadsOfOneClientEndsForAllOfThem) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] { deferred<typename TestFixture::Waiter>(this->client).lock(); });
  }
  ASSERT_TRUE(eventually([&] { return this->client.metrics().waiting == 6; }));
  this->holder.unlock();
  threads.clear();
  EXPECT_TRUE(this->is_empty());
}

TYPED_TEST(EveryLockWaiting, EndsWhenTheLeaseOfADeadHolderDoes) {
  this->holder.unlock();
  auto dead = elsewhere([&] {
    return in_time([&] {
      auto lock =
          deferred<typename TestFixture::Holder>(this->client, {.ttl = 400ms, .auto_renew = false});
      lock.lock();
      return lock;
    });
  });
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(rival.has_it());
  EXPECT_FALSE(dead.owns_lock());
  EXPECT_EQ(dead.unlock(), Unlock::lost);
  EXPECT_TRUE(rival.lock.verify());
}

TYPED_TEST(EveryLockWaiting, EndsWhenAStrangerDeletesTheKey) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockWaiting, ThatIsCancelledHoldsUpNobody) {
  typename TestFixture::Rival first(this->another());
  ASSERT_TRUE(this->is_queued(1));
  typename TestFixture::Rival second(this->another());
  ASSERT_TRUE(this->is_queued(2));
  first.cancel();
  EXPECT_TRUE(first.is_cancelled());
  EXPECT_TRUE(this->is_queued(1));
  this->holder.unlock();
  EXPECT_TRUE(second.has_it());
}

TYPED_TEST(EveryLockWaiting, LeavesNothingBehindWhenItsTimeIsOver) {
  Client other = this->another();
  EXPECT_FALSE(
      elsewhere([&] { return deferred<typename TestFixture::Waiter>(other).try_lock_for(50ms); }));
  EXPECT_TRUE(this->is_queued(0));
  EXPECT_TRUE(this->is_at_the_server(this->holder.token()));
}

TYPED_TEST(EveryLockWaiting, IsCountedAsContention) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  EXPECT_TRUE(eventually([&] { return rival.client().metrics().contended == 1; }));
  EXPECT_EQ(rival.client().metrics().waiting, 1U);
  this->holder.unlock();
  ASSERT_TRUE(rival.has_it());
  EXPECT_EQ(rival.client().metrics().contended, 1U);
  EXPECT_EQ(rival.client().metrics().acquired, 1U);
  EXPECT_EQ(rival.client().metrics().held, 1U);
}

TYPED_TEST(EveryLockWaiting, GoesOnWhenTheConnectionForMessagesIsLost) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  this->raw.command({"CLIENT", "KILL", "TYPE", "pubsub"});
  this->holder.unlock();
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockWaiting, GoesOnWhenQueuesAndScriptsAreForgotten) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  this->raw.command({"DEL", this->queue});
  this->raw.command({"SCRIPT", "FLUSH"});
  this->holder.unlock();
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockWaiting, GoesOnAfterARestartThatForgetsEverything) {
  typename TestFixture::Rival rival(
      Client(this->server.url(), {.connect_timeout = 1s, .command_timeout = 2s}));
  ASSERT_TRUE(rival.is_told_to_wait());
  ASSERT_TRUE(this->is_queued(1));
  this->server.kill();
  this->server.start();
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockWaiting, LeavesNoKeyForEver) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(1));
  for (const std::string& key : {std::string("job"), this->queue}) {
    EXPECT_GT(this->raw.pttl(key), 0) << key;
    EXPECT_LE(this->raw.pttl(key), 3'600'000) << key;
  }
}

TYPED_TEST(EveryLockWaiting, IsNotStoppedByEntriesThatCannotBeServed) {
  const std::string token = "11111111-2222-4333-8444-555555555555";
  RawClient listener(this->server.socket());
  listener.command({"SUBSCRIBE", "redlatch:somebody"});
  this->raw.command({"RPUSH", this->queue, "1 60000 redlatch:nobody expired"});
  this->raw.command({"RPUSH", this->queue, "99999999999999 60000 redlatch:nobody 1 " + token});
  this->raw.command({"RPUSH", this->queue, "99999999999999 60000 redlatch:nobody " + token});
  const bool is_string = this->raw.command({"TYPE", "job"}).text == "string";
  this->raw.command(
      {"RPUSH", this->queue,
       "99999999999999 60000 redlatch:somebody " + std::string(is_string ? "1 " : "") + token});
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(eventually([&] { return this->queued() >= 2; }));
  this->holder.unlock();
  EXPECT_TRUE(rival.has_it());
}

/// As after a JOIN that comes late, over a connection that was cut: the entry is served, and
/// its waiter has given up.
TYPED_TEST(EveryLockWaiting, GivesBackAGrantThatComesTooLate) {
  Client other = this->another();
  elsewhere([&] {
    auto lock = deferred<typename TestFixture::Waiter>(other);
    std::jthread waiting([&](const std::stop_token& stop) { EXPECT_FALSE(lock.lock(stop)); });
    ASSERT_TRUE(this->is_queued(1));
    const auto entry = this->entry(0);
    waiting.request_stop();
    waiting.join();
    ASSERT_TRUE(this->is_queued(0));
    this->raw.command(
        {"RPUSH", this->queue, "99999999999999 60000 " + entry.channel + ' ' + entry.value});
  });
  EXPECT_EQ(this->holder.unlock(), Unlock::released);
  EXPECT_TRUE(eventually([&] { return !this->raw.exists("job"); }));
}

/// With a process that waits as soon as it may, with a lease of a second.
template <class Classes>
class EveryLockProcess : public FamilyTest<Classes> {
 protected:
  using Rival = test::Rival<typename Classes::Waiter>;

  struct State {
    std::atomic<bool> may_wait = false;
    std::atomic<bool> has_it = false;
  };

  void wait_for_it() {
    Client own(this->server.url(), patient());
    auto lock = deferred<typename Classes::Waiter>(own, {.ttl = 1s});
    eventually([&] { return state->may_wait.load(); }, 60s);
    lock.lock();
    state->has_it = true;
    eventually([] { return false; }, 60s);
  }

  void SetUp() override {
    this->holder.lock();
    state->may_wait = true;
    ASSERT_TRUE(this->is_queued(1));
  }

  SharedMemory<State> state{};
  Child process{[this] { wait_for_it(); }};
};
TYPED_TEST_SUITE(EveryLockProcess, Pairs, );

TYPED_TEST(EveryLockProcess, ThatIsKilledWhileItWaitsIsPassedOver) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(2));
  this->process.kill();
  this->holder.unlock();
  EXPECT_TRUE(rival.has_it());
}

/// As monitoring programs do.
TYPED_TEST(EveryLockProcess, ThatIsKilledIsPassedOverAlsoWhereSomebodyListensToAllChannels) {
  RawClient listener(this->server.socket());
  listener.command({"PSUBSCRIBE", "*"});
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(2));
  const auto dead = this->entry(0);
  this->process.kill();
  ASSERT_TRUE(eventually([&] {
    return this->raw.command({"PUBSUB", "NUMSUB", dead.channel}).elements.at(1).integer == 0;
  }));
  this->holder.unlock();
  EXPECT_FALSE(this->is_at_the_server(dead.value));
  EXPECT_TRUE(rival.has_it());
}

TYPED_TEST(EveryLockProcess, ThatIsKilledWhileItHoldsKeepsOthersOutForItsTtlOnly) {
  this->holder.unlock();
  ASSERT_TRUE(eventually([&] { return this->state->has_it.load(); }));
  this->process.kill();
  EXPECT_EQ(this->holders().size(), 1U);
  EXPECT_TRUE(this->holder.try_lock_for(30s));
}

TYPED_TEST(EveryLockProcess, ThatIsStoppedIsPassedOverOnceItIsNotHeardOfAnyMore) {
  typename TestFixture::Rival rival(this->another());
  ASSERT_TRUE(this->is_queued(2));
  this->process.stop();
  EXPECT_TRUE(eventually([&] {
    return this->queued() == 1 || this->entry(0).expiry < this->raw.time_in_milliseconds();
  }));
  this->holder.unlock();
  EXPECT_TRUE(rival.has_it());
  EXPECT_FALSE(this->state->has_it);
  this->process.go_on();
  rival.ends();
  EXPECT_TRUE(eventually([&] { return this->state->has_it.load(); })) << "it queues up again";
}

TYPED_TEST(EveryLockProcess, ThatIsStoppedWhenItIsGrantedTheLockHoldsItForItsTtlOnly) {
  this->process.stop();
  const std::string value = this->entry(0).value;
  this->holder.unlock();
  EXPECT_TRUE(this->is_at_the_server(value));
  EXPECT_TRUE(this->holder.try_lock_for(30s));
}

}  // namespace family_waiting_test
}  // namespace redlatch::test
