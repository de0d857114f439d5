// What every class of the family has of holding: renewal, loss, and the answers of a release.

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "family.hpp"

namespace redlatch::test {
namespace family_holding_test {

template <class L>
class EveryLockHolding : public FamilyTest<Pair<L, L>> {
 protected:
  void replace_by_a_list() {
    this->raw.command({"DEL", "job"});
    this->raw.command({"LPUSH", "job", "work"});
  }

  L lock = deferred<L>(this->client, {.ttl = 1s, .label = "a host"});
};
using Members = testing::Types<FairLock, ReadLock, WriteLock, RecursiveLock, Permit, MultiLock>;
TYPED_TEST_SUITE(EveryLockHolding, Members, );

TYPED_TEST(EveryLockHolding, IsSeenAtTheServerWithItsLabel) {
  this->lock.lock();
  EXPECT_EQ(this->lock.token().size(), 36U);
  ASSERT_EQ(this->holders().size(), 1U);
  EXPECT_TRUE(this->holders().front().ends_with(this->lock.token() + " a host"));
}

TYPED_TEST(EveryLockHolding, HasATokenOfItsOwnEachTime) {
  this->lock.lock();
  const std::string first = this->lock.token();
  EXPECT_EQ(this->lock.unlock(), Unlock::released);
  EXPECT_EQ(this->lock.token(), "");
  EXPECT_FALSE(this->raw.exists("job"));
  ASSERT_TRUE(this->lock.try_lock());
  EXPECT_NE(this->lock.token(), first);
}

/// All commands that the server ran, those of scripts included.
std::int64_t commands_of(RawClient& raw) {
  const std::string stats = raw.command({"INFO", "commandstats"}).text;
  const std::string_view prefix = ":calls=";
  std::int64_t sum = 0;
  for (auto at = stats.find(prefix); at != std::string::npos; at = stats.find(prefix, at + 1)) {
    sum += std::stoll(stats.substr(at + prefix.size()));
  }
  return sum;
}

TYPED_TEST(EveryLockHolding, CostsTheServerFewCommands) {
  auto quiet = deferred<TypeParam>(this->client);
  const auto cycle = [&] {
    EXPECT_TRUE(quiet.try_lock());
    EXPECT_EQ(quiet.unlock(), Unlock::released);
  };
  cycle();  // logs in, and loads the scripts
  const std::int64_t before = commands_of(this->raw);
  cycle();
  const std::int64_t calls = commands_of(this->raw) - before - 1;  // INFO
  EXPECT_LE(calls, 12) << "two scripts, and what these run";
}

TYPED_TEST(EveryLockHolding, IsRenewed) {
  auto held = deferred<TypeParam>(this->client, {.ttl = 2s});
  held.lock();
  EXPECT_TRUE(eventually([&] { return this->client.metrics().renewed >= 1; }));
  EXPECT_TRUE(held.verify());
  EXPECT_FALSE(held.lost_token().stop_requested());
  EXPECT_EQ(held.unlock(), Unlock::released);
}

TYPED_TEST(EveryLockHolding, EndsByItselfWithoutRenewal) {
  auto brief = in_time([&] {
    auto one = deferred<TypeParam>(this->client, {.ttl = 100ms, .auto_renew = false});
    one.lock();
    return one;
  });
  const std::stop_token lost = brief.lost_token();
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_TRUE(eventually([&] { return !brief.owns_lock(); }));
  EXPECT_TRUE(eventually([&] { return !this->raw.exists("job"); }));
  EXPECT_EQ(brief.unlock(), Unlock::lost);
}

TYPED_TEST(EveryLockHolding, TellsThatTheKeyWasDeleted) {
  this->lock.lock();
  const std::stop_token lost = this->lock.lost_token();
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_FALSE(this->lock.owns_lock());
  EXPECT_EQ(this->client.metrics().lost, 1U);
}

TYPED_TEST(EveryLockHolding, TellsThatTheKeyIsOfAnotherKindNow) {
  this->lock.lock();
  const std::stop_token lost = this->lock.lost_token();
  this->replace_by_a_list();
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_EQ(this->lock.unlock(), Unlock::lost);
  EXPECT_EQ(this->raw.command({"LLEN", "job"}).integer, 1);
}

TYPED_TEST(EveryLockHolding, IsExtendedAndVerified) {
  auto held = deferred<TypeParam>(this->client);
  EXPECT_FALSE(held.extend());
  EXPECT_FALSE(held.verify());
  held.lock();
  EXPECT_TRUE(held.verify());
  EXPECT_TRUE(held.extend(120s));
  EXPECT_GT(held.remaining(), 60s);
  EXPECT_GT(this->raw.pttl("job"), 60'000);
}

TYPED_TEST(EveryLockHolding, IsSeenToBeLostByWhoeverAsks) {
  auto first = deferred<TypeParam>(this->client);
  first.lock();
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(first.owns_lock()) << "nobody has asked yet";
  EXPECT_FALSE(first.verify());
  EXPECT_FALSE(first.owns_lock());
  first.lock();
  this->raw.command({"DEL", "job"});
  EXPECT_FALSE(first.extend());
  first.lock();
  this->replace_by_a_list();
  EXPECT_FALSE(first.verify());
}

TYPED_TEST(EveryLockHolding, AnswersUnlockAsALockDoes) {
  auto held = deferred<TypeParam>(this->client);
  EXPECT_EQ(held.unlock(), Unlock::lost);
  held.lock();
  EXPECT_EQ(held.unlock(), Unlock::released);
  held.lock();
  this->raw.command({"DEL", "job"});
  EXPECT_EQ(held.unlock(), Unlock::lost);
}

TYPED_TEST(EveryLockHolding, AnswersUnlockWithUnknownWhileTheServerCannotWrite) {
  auto held = deferred<TypeParam>(this->client);
  held.lock();
  this->raw.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_EQ(held.unlock(), Unlock::unknown);
  this->raw.command({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(eventually([&] { return !this->raw.exists("job"); }, 30s));
}

TYPED_TEST(EveryLockHolding, IsRefusedTwiceToOneObject) {
  this->lock.lock();
  EXPECT_EQ(error_of([&] { this->lock.lock(); }), std::errc::resource_deadlock_would_occur);
  EXPECT_EQ(error_of([&] { static_cast<void>(this->lock.try_lock()); }),
            std::errc::resource_deadlock_would_occur);
}

TYPED_TEST(EveryLockHolding, MovesWithTheObject) {
  auto held = deferred<TypeParam>(this->client);
  held.lock();
  const std::string token = held.token();
  TypeParam other(std::move(held));
  EXPECT_EQ(other.token(), token);
  EXPECT_EQ(elsewhere([&] { return other.unlock(); }), Unlock::released);
}

TYPED_TEST(EveryLockHolding, GivesUpWhatAGuardForgets) {
  for (int i = 0; i < 20; ++i) {
    auto guard = deferred<TypeParam>(this->client);
    ASSERT_TRUE(guard.try_lock()) << "the release before comes first";
  }
  EXPECT_TRUE(this->is_empty());
}

TYPED_TEST(EveryLockHolding, OutlivesTheClient) {
  std::optional<Client> brief(this->another());
  auto held = deferred<TypeParam>(*brief);
  held.lock();
  brief.reset();
  EXPECT_EQ(held.unlock(), Unlock::released);
}

TYPED_TEST(EveryLockHolding, SurvivesTheLossOfScriptsAndConnections) {
  auto held = deferred<TypeParam>(this->client);
  held.lock();
  this->raw.command({"SCRIPT", "FLUSH"});
  EXPECT_TRUE(held.extend());
  this->raw.command({"SCRIPT", "FLUSH"});
  this->raw.command({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_EQ(held.unlock(), Unlock::released);
}

TYPED_TEST(EveryLockHolding, NeedsScripts) {
  ClientOptions options = patient();
  options.scripting = false;
  Client without(this->server.url(), options);
  const Error error = thrown_by([&] { static_cast<void>(deferred<TypeParam>(without)); });
  EXPECT_EQ(error.code(), Errc::unsupported);
  EXPECT_NE(std::string(error.what()).find("ClientOptions::scripting"), std::string::npos);
}

TYPED_TEST(EveryLockHolding, LeavesAKeyThatIsNoLockAlone) {
  this->replace_by_a_list();
  EXPECT_EQ(error_of([&] { this->lock.lock(); }), Errc::wrong_type);
  EXPECT_EQ(error_of([&] { static_cast<void>(this->lock.try_lock_for(20ms)); }), Errc::wrong_type);
  EXPECT_EQ(this->raw.command({"LLEN", "job"}).integer, 1);
  EXPECT_TRUE(this->is_queued(0));
}

template <class L>
class EveryLockFencing : public FamilyTest<Pair<L, L>> {};
using WithNumbers = testing::Types<FairLock, WriteLock, RecursiveLock>;
TYPED_TEST_SUITE(EveryLockFencing, WithNumbers, );

TYPED_TEST(EveryLockFencing, AcquisitionsRiseAlsoThroughTheQueue) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  std::uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    auto lock = deferred<TypeParam>(this->client, fenced);
    lock.lock();
    EXPECT_GT(lock.fencing_token(), last);
    last = lock.fencing_token();
    Rival<TypeParam> rival(this->another(), fenced);
    ASSERT_TRUE(this->is_queued(1));
    lock.unlock();
    ASSERT_TRUE(rival.has_it());
    EXPECT_GT(rival.lock.fencing_token(), last);
    last = rival.lock.fencing_token();
    rival.ends();
    this->raw.command({"DEL", "job:redlatch:fence:{job}"});
  }
}

}  // namespace family_holding_test
}  // namespace redlatch::test
