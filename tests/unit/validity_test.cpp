#include <gtest/gtest.h>

#include <redlatch/detail/validity.hpp>

namespace redlatch::detail {
namespace validity_test {

using namespace std::chrono_literals;

constexpr TimePoint start{1000s};
constexpr std::uint64_t here = 1;
constexpr std::uint64_t child = 2;

static_assert(drift(10s) == 102ms);
static_assert(drift(10ms) == 2100us);
static_assert(drift(0s) == 2ms);

Validity confirmed(std::chrono::milliseconds ttl) {
  Validity lease("token", here);
  lease.confirm({start}, ttl);
  return lease;
}

TEST(Validity, IsNothingByDefault) {
  const Validity lease;
  EXPECT_FALSE(lease.exists(0));
  EXPECT_FALSE(lease.valid(TimePoint{}, 0));
  EXPECT_EQ(lease.token(), "");
}

TEST(Validity, ExistsBeforeItIsConfirmedButIsNotValid) {
  const Validity lease("token", here);
  EXPECT_TRUE(lease.exists(here));
  EXPECT_FALSE(lease.valid(start, here));
}

TEST(Validity, IsValidUntilTheTtlLessDrift) {
  const Validity lease = confirmed(10s);
  EXPECT_EQ(lease.valid_until(), start + 10s - 102ms);
  EXPECT_TRUE(lease.valid(start + 9898ms - 1ns, here));
  EXPECT_FALSE(lease.valid(start + 9898ms, here));
}

TEST(Validity, ExistsAfterItsValidity) {
  const Validity lease = confirmed(10s);
  EXPECT_FALSE(lease.valid(start + 1h, here));
  EXPECT_TRUE(lease.exists(here));
}

TEST(Validity, IsNotTheChilds) {
  const Validity lease = confirmed(10s);
  EXPECT_FALSE(lease.exists(child));
  EXPECT_FALSE(lease.valid(start, child));
}

TEST(Validity, IsNotValidOnceItIsLostButStillExists) {
  Validity lease = confirmed(10s);
  lease.lose();
  EXPECT_FALSE(lease.valid(start, here));
  EXPECT_TRUE(lease.exists(here));
}

TEST(Validity, StaysLostWhenAnExtensionIsConfirmedLate) {
  Validity lease = confirmed(10s);
  lease.lose();
  lease.confirm({start + 1s}, 10s);
  EXPECT_FALSE(lease.valid(start + 1s, here));
}

TEST(Validity, IsReplacedByAShorterExtension) {
  Validity lease = confirmed(10s);
  lease.confirm({start}, 1s);
  EXPECT_EQ(lease.valid_until(), start + 988ms);
}

TEST(Validity, IsNotMadeLongerByDoubt) {
  Validity lease = confirmed(10s);
  lease.doubt({start + 1s}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 9898ms);
}

TEST(Validity, IsMadeShorterByDoubt) {
  Validity lease = confirmed(10s);
  lease.doubt({start + 1s}, 1s);
  EXPECT_EQ(lease.valid_until(), start + 1s + 988ms);
}

TEST(Validity, IsLimitedByTheShortestDoubt) {
  Validity lease = confirmed(10s);
  lease.doubt({start}, 2s);
  lease.doubt({start}, 1s);
  lease.doubt({start}, 5s);
  lease.confirm({start + 100ms}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 100ms + 988ms);
}

TEST(Validity, MayBeConfirmedForLessThanWhatIsInDoubt) {
  Validity lease = confirmed(10s);
  lease.doubt({start}, 5s);
  lease.confirm({start}, 1s);
  EXPECT_EQ(lease.valid_until(), start + 988ms);
}

/// The server has carried out what was sent before it on the same connection.
TEST(Validity, IsNotLimitedByADoubtOnceItsConnectionHasAnsweredWhatWasSentLater) {
  Validity lease = confirmed(10s);
  lease.doubt({start + 1s, 5}, 1s);
  lease.confirm({start + 2s, 5}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 2s + 60s - 602ms);
}

TEST(Validity, IsLimitedByADoubtThatItsConnectionMayStillCarryOut) {
  Validity lease = confirmed(10s);
  lease.doubt({start + 3s, 5}, 1s);
  lease.confirm({start + 2s, 5}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 2s + 988ms);
  lease.confirm({start + 4s, 5}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 4s + 60s - 602ms);
}

TEST(Validity, IsLimitedForEverByADoubtOnAConnectionThatIsNotUsedAnyMore) {
  Validity lease = confirmed(10s);
  lease.doubt({start + 1s, 5}, 1s);
  lease.confirm({start + 2s, 6}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 2s + 988ms);
  lease.confirm({start + 3s, 5}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 3s + 988ms);
}

TEST(Validity, IsLimitedByTheDoubtsOfSeveralConnections) {
  Validity lease = confirmed(10s);
  lease.doubt({start + 1s, 5}, 1s);
  lease.doubt({start + 1s, 6}, 5s);
  lease.confirm({start + 2s, 6}, 60s);
  EXPECT_EQ(lease.valid_until(), start + 2s + 988ms);
}

TEST(Validity, IsNotShortenedByADoubtInFrontOfWhatItsConnectionHasAnswered) {
  Validity lease = confirmed(10s);
  lease.confirm({start + 2s, 5}, 60s);
  lease.doubt({start + 1s, 5}, 1s);
  EXPECT_EQ(lease.valid_until(), start + 2s + 60s - 602ms);
  lease.doubt({start + 1s, 4}, 1s);
  EXPECT_EQ(lease.valid_until(), start + 1s + 988ms);
}

TEST(Validity, IsNotChangedByAnAnswerThatIsOld) {
  Validity lease = confirmed(10s);
  lease.confirm({start + 2s, 5}, 60s);
  lease.confirm({start + 1s, 5}, 1s);
  lease.deny({start + 1s, 5});
  EXPECT_EQ(lease.valid_until(), start + 2s + 60s - 602ms);
}

/// A lease of several servers that is confirmed by the first so many.
Validity confirmed_by(std::size_t count, std::size_t servers) {
  Validity lease("token", here, {}, {}, servers);
  for (std::size_t i = 0; i < count; ++i) lease.confirm({start}, 10s, i);
  return lease;
}

TEST(Validity, IsValidOnceAMajorityHasGivenIt) {
  for (const std::size_t servers : {2U, 3U, 4U, 5U}) {
    SCOPED_TRACE(servers);
    EXPECT_EQ(confirmed_by(servers / 2, servers).valid_until(), TimePoint{});
    EXPECT_EQ(confirmed_by(servers / 2 + 1, servers).valid_until(), start + 9898ms);
  }
}

TEST(Validity, IsValidForAsLongAsAMajorityKeepsIt) {
  Validity lease = confirmed_by(5, 5);
  lease.confirm({start}, 1s, 0);
  lease.deny({start}, 1);
  EXPECT_EQ(lease.valid_until(), start + 9898ms);
  EXPECT_EQ(lease.certain_ttl(), 10s);
  lease.doubt({start + 1s}, 3s, 2);
  EXPECT_EQ(lease.valid_until(), start + 1s + 3s - 32ms);
  EXPECT_EQ(lease.certain_ttl(), 3s);
}

TEST(Validity, WasConfirmedWhenAMajorityLastWas) {
  Validity lease = confirmed_by(3, 3);
  lease.confirm({start + 1s}, 10s, 0);
  EXPECT_EQ(lease.confirmed(), start);
  lease.confirm({start + 2s}, 10s, 2);
  EXPECT_EQ(lease.confirmed(), start + 1s);
}

TEST(Validity, RemembersTheLongestTtl) {
  Validity lease = confirmed(10s);
  EXPECT_EQ(lease.max_ttl(), 10s);
  lease.confirm({start}, 1s);
  EXPECT_EQ(lease.max_ttl(), 10s);
  lease.doubt({start}, 30s);
  EXPECT_EQ(lease.max_ttl(), 30s);
  lease.confirm({start}, 60s);
  EXPECT_EQ(lease.max_ttl(), 60s);
}

}  // namespace validity_test
}  // namespace redlatch::detail
