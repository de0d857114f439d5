// How long the key of a lock with several holders lives: as long as the last of them.

#include <string>
#include <type_traits>
#include <vector>

#include "family.hpp"

namespace redlatch::test {
namespace holders_life_test {

using namespace std::chrono_literals;

template <class L>
class EveryLockHoldersLife : public QueueTest {
 protected:
  L hold(LockOptions options) {
    if constexpr (std::is_same_v<L, Permit>) {
      return L(client, "job", 5, std::move(options));
    } else {
      return L(client, "job", std::move(options));
    }
  }
  std::int64_t life() { return raw.pttl("job"); }
};
using Classes = testing::Types<ReadLock, RecursiveLock, Permit>;
TYPED_TEST_SUITE(EveryLockHoldersLife, Classes, );

TYPED_TEST(EveryLockHoldersLife, IsThatOfTheLongestHolder) {
  const auto brief = this->hold({.ttl = 2s});
  const auto longer = this->hold({.ttl = 60s});
  const auto another = this->hold({.ttl = 3s});
  EXPECT_GT(this->life(), 50'000);
  EXPECT_LE(this->life(), 60'000);
}

TYPED_TEST(EveryLockHoldersLife, IsThatOfWhoeverIsLeft) {
  auto brief = this->hold({.ttl = 1s, .auto_renew = false});
  auto longer = this->hold({.ttl = std::chrono::years(1)});
  EXPECT_GT(this->life(), 60'000);
  EXPECT_EQ(longer.unlock(), Unlock::released);
  EXPECT_LE(this->life(), 1000);
  EXPECT_TRUE(eventually([&] { return !this->raw.exists("job"); }));
}

TYPED_TEST(EveryLockHoldersLife, IsShortAgainForTheNextHolder) {
  {
    auto longer = this->hold({.ttl = 60s});
    auto brief = this->hold({.ttl = 20s, .auto_renew = false});
    EXPECT_EQ(longer.unlock(), Unlock::released);
    EXPECT_EQ(brief.unlock(), Unlock::released);
  }
  EXPECT_FALSE(this->raw.exists("job"));
  const auto next = this->hold({.ttl = 20s, .auto_renew = false});
  EXPECT_LE(this->life(), 20'000);
}

TYPED_TEST(EveryLockHoldersLife, IsMadeShorterByAnExtension) {
  auto held = this->hold({.ttl = 60s});
  EXPECT_TRUE(held.extend(1h));
  EXPECT_GT(this->life(), 60'000);
  EXPECT_TRUE(held.extend(2s));
  EXPECT_LE(this->life(), 2'000);
}

/// To the server everything is 20 s longer then, until it is renewed.
TYPED_TEST(EveryLockHoldersLife, IsRightAgainAfterARenewalWhenTheServersClockWasSetBack) {
  const auto held = this->hold({.ttl = 2s});
  const std::string value = this->raw.command({"ZRANGE", "job", "0", "0"}).elements.at(0).text;
  this->raw.command(
      {"ZADD", "job", std::to_string(this->raw.time_in_milliseconds() + 20'000), value});
  this->raw.command({"PEXPIRE", "job", "20000"});
  EXPECT_TRUE(eventually([&] { return this->life() <= 2000; }));
  EXPECT_TRUE(held.owns_lock());
}

}  // namespace holders_life_test
}  // namespace redlatch::test
