// Keys that belong to a program, or to another lock, beside a lock of nearly the same name.

#include <string>
#include <type_traits>
#include <vector>

#include "family.hpp"

namespace redlatch::test {
namespace foreign_keys_test {

/// A lock that is not held yet. Of permits there is one.
template <class L>
L lock_of(Client& client, const std::string& key, LockOptions options = long_lease) {
  if constexpr (std::is_same_v<L, Permit>) {
    return L(client, key, 1, std::defer_lock, std::move(options));
  } else if constexpr (std::is_same_v<L, MultiLock>) {
    return L(client, {key}, std::defer_lock, std::move(options));
  } else {
    return L(client, key, std::defer_lock, std::move(options));
  }
}

template <class L>
class EveryLockForeignKeys : public ServerTest {
 protected:
  /// Keeps an `L` of the same key waiting.
  using Holder = std::conditional_t<std::is_same_v<L, ReadLock>, WriteLock, L>;
  static constexpr bool has_queue = !std::is_same_v<L, MultiLock>;
  static constexpr bool has_numbers = !std::is_same_v<L, ReadLock> && !std::is_same_v<L, Permit>;

  /// Locks and unlocks, with and without a wait.
  void use_locks_of(const std::string& key) {
    Client other(server.url(), patient());
    auto lock = lock_of<L>(client, key);
    lock.lock();
    EXPECT_EQ(lock.unlock(), Unlock::released);
    auto holder = lock_of<Holder>(client, key);
    holder.lock();
    EXPECT_FALSE(elsewhere([&] { return lock_of<L>(other, key).try_lock_for(30ms); }));
    EXPECT_EQ(holder.unlock(), Unlock::released);
    EXPECT_TRUE(elsewhere([&] { return lock_of<L>(other, key).try_lock_for(20s); }));
  }
  std::int64_t length(const std::string& list) { return raw.command({"LLEN", list}).integer; }

  const std::string queue = "{order}:redlatch:queue";
  const std::string counter = "{order}:redlatch:fence";
};
using Classes =
    testing::Types<Lock, FairLock, ReadLock, WriteLock, RecursiveLock, Permit, MultiLock>;
TYPED_TEST_SUITE(EveryLockForeignKeys, Classes, );

TYPED_TEST(EveryLockForeignKeys, LikeAProgramsOwnListAreLeftAlone) {
  this->raw.command({"RPUSH", "{order}:queue", "1", "2", "3", "4", "5"});
  this->use_locks_of("{order}");
  EXPECT_EQ(this->length("{order}:queue"), 5);
  EXPECT_EQ(this->raw.pttl("{order}:queue"), -1);
}

TYPED_TEST(EveryLockForeignKeys, LikeAProgramsOwnCounterAreLeftAlone) {
  if constexpr (TestFixture::has_numbers) {
    this->raw.command({"SET", "{order}:fence", "7"});
    auto lock = lock_of<TypeParam>(this->client, "{order}", {.ttl = 60s, .fencing = true});
    lock.lock();
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_EQ(this->raw.get("{order}:fence"), "7");
    EXPECT_EQ(this->raw.pttl("{order}:fence"), -1);
  }
}

TYPED_TEST(EveryLockForeignKeys, MayBeOtherLocks) {
  for (const char* name : {"{order}:queue", "{order}:fence"}) {
    auto other = lock_of<TypeParam>(this->client, name);
    other.lock();
    this->use_locks_of("{order}");
    EXPECT_TRUE(other.verify()) << name;
    EXPECT_EQ(other.unlock(), Unlock::released) << name;
  }
  auto lock = lock_of<TypeParam>(this->client, "{order}", {.ttl = 60s});
  lock.lock();
  this->use_locks_of("{order}:queue");
  EXPECT_TRUE(lock.verify());
}

/// Although no program has such names.
TYPED_TEST(EveryLockForeignKeys, InThePlaceOfTheQueueAreRefusedAndLeftAlone) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"RPUSH", this->queue, "7 60000 nobody", "", "x"},
        {"SET", this->queue, "a string"},
        {"HSET", this->queue, "field", "a hash"}}) {
    this->raw.command(words);
    const std::string before = this->raw.command({"DUMP", this->queue}).text;
    auto holder = lock_of<typename TestFixture::Holder>(this->client, "{order}");
    if constexpr (std::is_same_v<TypeParam, Lock>) {
      holder.lock();
      EXPECT_EQ(error_of([&] {
                  static_cast<void>(lock_of<TypeParam>(this->client, "{order}").try_lock_for(20s));
                }),
                Errc::wrong_type);
      EXPECT_EQ(holder.unlock(), Unlock::released);
    } else if constexpr (TestFixture::has_queue) {
      const Error error = thrown_by([&] { holder.lock(); });
      EXPECT_EQ(error.code(), Errc::wrong_type);
      EXPECT_NE(std::string(error.what()).find(this->queue), std::string::npos) << error.what();
    } else {
      holder.lock();
      EXPECT_EQ(holder.unlock(), Unlock::released);
    }
    EXPECT_FALSE(this->raw.exists("{order}"));
    EXPECT_EQ(this->raw.command({"DUMP", this->queue}).text, before);
    EXPECT_EQ(this->raw.pttl(this->queue), -1);
    this->raw.command({"DEL", this->queue});
  }
}

TYPED_TEST(EveryLockForeignKeys, InThePlaceOfTheCounterAreRefusedAndLeftAlone) {
  if constexpr (TestFixture::has_numbers) {
    for (const char* value : {"7", "", "fence", "fence -7", "fence 7 ", "fence 9007199254740992"}) {
      this->raw.command({"SET", this->counter, value});
      auto lock = lock_of<TypeParam>(this->client, "{order}", {.ttl = 60s, .fencing = true});
      const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
      EXPECT_EQ(error.code(), Errc::wrong_type) << value;
      EXPECT_NE(std::string(error.what()).find(this->counter), std::string::npos) << error.what();
      EXPECT_EQ(this->raw.get(this->counter), value);
      EXPECT_EQ(this->raw.pttl(this->counter), -1);
      EXPECT_FALSE(this->raw.exists("{order}"));
    }
  }
}

template <class L>
class EveryLockForeignSets : public EveryLockForeignKeys<L> {};
using ClassesOfSets = testing::Types<ReadLock, WriteLock, RecursiveLock, Permit>;
TYPED_TEST_SUITE(EveryLockForeignSets, ClassesOfSets, );

/// Some of their scores are in the past, as those of a dead holder.
TYPED_TEST(EveryLockForeignSets, AreRefusedAndLeftAloneWhateverTheirMembers) {
  for (const char* member : {"", " x", "3", "r", "3 x", "=o:x", "w 1-2", "rx 1-2-3-4-"}) {
    for (const char* score : {"5", "99999999999999", "-inf", "inf"}) {
      this->raw.command({"ZADD", "job", score, member, "inf", "carol"});
      const std::string before = this->raw.command({"DUMP", "job"}).text;
      auto lock = lock_of<TypeParam>(this->client, "job");
      const auto refused = [&](auto action) {
        const Error error = thrown_by(action);
        EXPECT_EQ(error.code(), Errc::wrong_type) << member << ' ' << error.what();
        EXPECT_FALSE(error.in_doubt());
      };
      refused([&] { static_cast<void>(lock.try_lock()); });
      refused([&] { lock.lock(); });
      refused([&] { static_cast<void>(lock.try_lock_for(1s)); });
      EXPECT_EQ(this->raw.command({"DUMP", "job"}).text, before) << member << ' ' << score;
      EXPECT_EQ(this->raw.pttl("job"), -1);
      this->raw.command({"DEL", "job"});
    }
  }
}

/// Behind holders that have died.
TYPED_TEST(EveryLockForeignSets, AreLeftAloneAlsoWhereSomeOfTheirMembersLookLikeOurs) {
  const std::string token = "11111111-2222-4333-8444-555555555555";
  for (int i = 0; i < 100; ++i)
    this->raw.command({"ZADD", "job", "5", "1 " + token + std::to_string(i)});
  this->raw.command({"ZADD", "job", "5", "2", "6", "bob"});
  auto lock = lock_of<TypeParam>(this->client, "job");
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock()); }), Errc::wrong_type);
  EXPECT_EQ(this->raw.command({"ZCARD", "job"}).integer, 102);
  this->raw.command({"ZREM", "job", "2", "bob"});
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(this->raw.command({"ZCARD", "job"}).integer, 1);
}

}  // namespace foreign_keys_test
}  // namespace redlatch::test
