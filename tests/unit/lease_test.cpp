#include <gtest/gtest.h>

#include <redlatch/detail/lease.hpp>

namespace redlatch::detail {
namespace lease_test {

using namespace std::chrono_literals;

constexpr TimePoint start{1000s};
constexpr std::uint64_t here = 1;
constexpr std::uint64_t child = 2;

static_assert(drift(10s) == 102ms);
static_assert(drift(10ms) == 2100us);
static_assert(drift(0s) == 2ms);

Lease confirmed(std::chrono::milliseconds ttl) {
  Lease lease("token", here);
  lease.confirm(start, ttl);
  return lease;
}

TEST(Lease, IsNothingByDefault) {
  const Lease lease;
  EXPECT_FALSE(lease.exists(0));
  EXPECT_FALSE(lease.valid(TimePoint{}, 0));
  EXPECT_EQ(lease.token(), "");
}

TEST(Lease, ExistsBeforeItIsConfirmedButIsNotValid) {
  const Lease lease("token", here);
  EXPECT_TRUE(lease.exists(here));
  EXPECT_FALSE(lease.valid(start, here));
}

TEST(Lease, IsValidUntilTheTtlLessDrift) {
  const Lease lease = confirmed(10s);
  EXPECT_EQ(lease.valid_until(), start + 10s - 102ms);
  EXPECT_TRUE(lease.valid(start + 9898ms - 1ns, here));
  EXPECT_FALSE(lease.valid(start + 9898ms, here));
}

TEST(Lease, ExistsAfterItsValidity) {
  const Lease lease = confirmed(10s);
  EXPECT_FALSE(lease.valid(start + 1h, here));
  EXPECT_TRUE(lease.exists(here));
}

TEST(Lease, IsNotTheChilds) {
  const Lease lease = confirmed(10s);
  EXPECT_FALSE(lease.exists(child));
  EXPECT_FALSE(lease.valid(start, child));
}

TEST(Lease, IsNotValidOnceItIsLostButStillExists) {
  Lease lease = confirmed(10s);
  lease.lose();
  EXPECT_FALSE(lease.valid(start, here));
  EXPECT_TRUE(lease.exists(here));
}

TEST(Lease, StaysLostWhenAnExtensionIsConfirmedLate) {
  Lease lease = confirmed(10s);
  lease.lose();
  lease.confirm(start + 1s, 10s);
  EXPECT_FALSE(lease.valid(start + 1s, here));
}

TEST(Lease, IsReplacedByAShorterExtension) {
  Lease lease = confirmed(10s);
  lease.confirm(start, 1s);
  EXPECT_EQ(lease.valid_until(), start + 988ms);
}

TEST(Lease, IsNotMadeLongerByDoubt) {
  Lease lease = confirmed(10s);
  lease.doubt(start + 1s, 60s);
  EXPECT_EQ(lease.valid_until(), start + 9898ms);
}

TEST(Lease, IsMadeShorterByDoubt) {
  Lease lease = confirmed(10s);
  lease.doubt(start + 1s, 1s);
  EXPECT_EQ(lease.valid_until(), start + 1s + 988ms);
}

TEST(Lease, IsLimitedByTheShortestDoubt) {
  Lease lease = confirmed(10s);
  lease.doubt(start, 2s);
  lease.doubt(start, 1s);
  lease.doubt(start, 5s);
  lease.confirm(start + 100ms, 60s);
  EXPECT_EQ(lease.valid_until(), start + 100ms + 988ms);
}

TEST(Lease, MayBeConfirmedForLessThanWhatIsInDoubt) {
  Lease lease = confirmed(10s);
  lease.doubt(start, 5s);
  lease.confirm(start, 1s);
  EXPECT_EQ(lease.valid_until(), start + 988ms);
}

TEST(Lease, RemembersTheLongestTtl) {
  Lease lease = confirmed(10s);
  EXPECT_EQ(lease.longest_ttl(), 10s);
  lease.confirm(start, 1s);
  EXPECT_EQ(lease.longest_ttl(), 10s);
  lease.doubt(start, 30s);
  EXPECT_EQ(lease.longest_ttl(), 30s);
  lease.confirm(start, 60s);
  EXPECT_EQ(lease.longest_ttl(), 60s);
}

}  // namespace lease_test
}  // namespace redlatch::detail
