// What a user needs for each class of the family. docs/permissions.md has these lists.

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "family.hpp"

namespace redlatch::test {
namespace family_rights_test {

using Rights = std::vector<std::string>;

Rights operator+(Rights some, const Rights& others) {
  some.insert(some.end(), others.begin(), others.end());
  return some;
}

/// What a class cannot do without, besides for its queue.
template <class L>
const Rights needed{"~job*",   "+eval", "+evalsha", "+time",    "+zremrangebyscore",
                    "+zrange", "+zadd", "+zscore",  "+pexpire", "+lindex"};
template <>
const Rights needed<Permit> = needed<WriteLock> + Rights{"+zcard"};
template <>
const Rights needed<RecursiveLock> = needed<Permit>;
template <>
const Rights needed<FairLock>{"~job*", "&redlatch:*", "+eval",     "+evalsha", "+time",
                              "+get",  "+set",        "+pexpire",  "+lindex",  "+rpush",
                              "+lpos", "+lset",       "+subscribe"};

/// To give it up.
template <class L>
const Rights to_release{"+zrem"};
template <>
const Rights to_release<FairLock>{"+del"};

/// To wait in a queue; without it, who waits asks again and again.
const Rights to_queue{"&redlatch:*", "+rpush",   "+lpos",      "+lset",         "+lrange",
                      "+lrem",       "+publish", "+subscribe", "+pubsub|numsub"};
/// To let those in who wait, and for a FairLock to try once.
const Rights to_give_way{"+lpop", "+exists"};
/// To verify it.
const Rights to_verify{"+getrange"};
/// For the first in the queue to see at once that a holder that knows no queue has released.
const Rights to_watch{"&__redis__:invalidate", "+client|id", "+client|tracking", "+client|caching",
                      "+pttl"};
/// What a client does without as well, and the server would note.
const Rights to_leave_no_trace{"+script|load", "+watch", "+multi", "+exec"};

template <class L>
class EveryLockRights : public FamilyTest<Pair<L, L>> {
 protected:
  void allow(const Rights& rights) {
    const Rights words = Rights{"ACL", "SETUSER", "worker", "reset", "on", ">secret"} + rights;
    ASSERT_EQ(this->raw.command(words).text, "OK");
    this->raw.command({"SCRIPT", "FLUSH"});
  }
  Client user(const Rights& rights, const std::string& without = {}) {
    Rights fewer = rights;
    std::erase(fewer, without);
    allow(fewer);
    return Client("redis://worker:secret@127.0.0.1:" + std::to_string(this->server.port()),
                  patient());
  }
};
using Members = testing::Types<FairLock, WriteLock, ReadLock, RecursiveLock, Permit>;
TYPED_TEST_SUITE(EveryLockRights, Members, );

TYPED_TEST(EveryLockRights, Suffice) {
  const Rights all = needed<TypeParam> + to_release<TypeParam> + to_queue + to_give_way + to_watch +
                     to_verify + to_leave_no_trace;
  Client worker = this->user(all);
  auto lock = deferred<TypeParam>(worker);
  lock.lock();
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  if constexpr (!std::is_same_v<TypeParam, ReadLock>) {
    lock.lock();
    Rival<TypeParam> rival(this->user(all), {.ttl = 1s});
    ASSERT_TRUE(this->is_queued(1));
    EXPECT_TRUE(eventually([&] { return this->raw.info("clients", "tracking_clients:") == 1; }));
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_TRUE(rival.has_it());
    rival.ends();
    EXPECT_TRUE(this->is_empty());
  }
  for (const RawReply& entry : this->raw.command({"ACL", "LOG"}).elements) {
    ADD_FAILURE() << "refused: " << entry.elements.at(5).text << ' ' << entry.elements.at(7).text;
  }
}

TYPED_TEST(EveryLockRights, ThatAreMissedAreNamed) {
  const Rights all = needed<TypeParam> + to_release<TypeParam>;
  for (const std::string& right : needed<TypeParam>) {
    if (right == "+zcard") continue;  // is for when there are several
    SCOPED_TRACE("without " + right);
    this->holder.lock();
    Client worker = this->user(all, right);
    auto lock = deferred<TypeParam>(worker);
    const Error error = thrown_by([&] {
      // Some are only missed by a FairLock that has to wait.
      if (!std::is_same_v<TypeParam, FairLock> || right == "+set") this->holder.unlock();
      lock.lock();
      static_cast<void>(lock.extend());
      static_cast<void>(lock.verify());
    });
    EXPECT_EQ(error.code(), Errc::not_permitted) << error.what();
    EXPECT_NE(std::string(error.what()).find("the rights that docs/permissions.md lists"),
              std::string::npos);
    this->allow({"~*", "&*", "+@all"});  // so that no release stays open
    this->raw.command({"DEL", "job", this->queue});
    this->holder.unlock();
  }
}

TYPED_TEST(EveryLockRights, ThatAreMissedToReleaseLeaveItToTheTtl) {
  for (const std::string& right : to_release<TypeParam>) {
    Client worker = this->user(needed<TypeParam> + to_queue + to_give_way);
    auto lock = deferred<TypeParam>(worker, {.ttl = 1s});
    lock.lock();
    EXPECT_EQ(lock.unlock(), Unlock::unknown) << "without " << right;
    EXPECT_TRUE(eventually([&] { return this->holder.try_lock(); }, 30s));
  }
}

template <class L>
class EveryLockQueueRights : public EveryLockRights<L> {};
using WithoutQueue = testing::Types<WriteLock, RecursiveLock, Permit>;
TYPED_TEST_SUITE(EveryLockQueueRights, WithoutQueue, );

TYPED_TEST(EveryLockQueueRights, AreMissedByWhoeverAsksAgainAndAgainThen) {
  const Rights all = needed<TypeParam> + to_release<TypeParam> + to_queue + to_give_way + to_watch;
  for (const std::string& right : to_queue) {
    SCOPED_TRACE("without " + right);
    this->holder.lock();
    Rival<TypeParam> rival(this->user(all, right));
    ASSERT_TRUE(eventually([&] { return rival.client().metrics().contended == 1; }));
    EXPECT_EQ(this->holder.unlock(), Unlock::released);
    EXPECT_TRUE(rival.has_it());
    rival.ends();
  }
}

TYPED_TEST(EveryLockQueueRights, SufficeToWaitWithoutWatching) {
  this->holder.lock();
  Rival<TypeParam> rival(
      this->user(needed<TypeParam> + to_release<TypeParam> + to_queue + to_give_way));
  ASSERT_TRUE(this->is_queued(1));
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(rival.has_it());
}

}  // namespace family_rights_test
}  // namespace redlatch::test
