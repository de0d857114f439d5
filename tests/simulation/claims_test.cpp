#include "claims.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace redlatch::test::claims_test {
namespace {

using namespace std::chrono_literals;
using Kind = Claim::Kind;

Claim claim(Kind kind, int process, std::chrono::nanoseconds from, std::chrono::nanoseconds until) {
  return {.kind = kind,
          .name = "Lock",
          .keys = {"key"},
          .process = process,
          .granted = from - 100ms,
          .from = from,
          .until = until,
          .limit = 2};
}

/// How many violations there are.
std::size_t found(const std::vector<Claim>& claims,
                  const std::vector<std::chrono::nanoseconds>& forgot = {}) {
  return findings_in(claims, forgot).violations.size();
}

TEST(Claims, MayFollowEachOther) {
  EXPECT_EQ(found({claim(Kind::exclusive, 1, 1s, 2s), claim(Kind::exclusive, 2, 3s, 4s)}), 0U);
}

TEST(Claims, OfExclusiveLocksMustNotOverlap) {
  for (const Kind other : {Kind::exclusive, Kind::shared, Kind::permit, Kind::recursive}) {
    EXPECT_EQ(found({claim(Kind::exclusive, 1, 1s, 3s), claim(other, 2, 2s, 4s)}), 1U);
    EXPECT_EQ(found({claim(Kind::exclusive, 1, 2s, 4s), claim(other, 2, 1s, 3s)}), 1U);
    EXPECT_EQ(found({claim(Kind::exclusive, 1, 1s, 9s), claim(other, 1, 2s, 3s)}), 1U)
        << "not even in one thread";
  }
}

TEST(Claims, AreLookedAtForEachOfTheirKeys) {
  Claim several = claim(Kind::exclusive, 1, 1s, 3s);
  several.keys = {"other", "key"};
  EXPECT_EQ(found({several, claim(Kind::exclusive, 2, 2s, 4s)}), 1U);
  several.keys = {"other", "third"};
  EXPECT_EQ(found({several, claim(Kind::exclusive, 2, 2s, 4s)}), 0U);
}

TEST(Claims, OfSharedLocksMayOverlap) {
  EXPECT_EQ(found({claim(Kind::shared, 1, 1s, 3s), claim(Kind::shared, 2, 2s, 4s)}), 0U);
}

TEST(Claims, OfPermitsMayOverlapUpToTheirLimit) {
  std::vector<Claim> claims{claim(Kind::permit, 1, 1s, 5s), claim(Kind::permit, 2, 2s, 5s)};
  EXPECT_EQ(found(claims), 0U);
  claims.push_back(claim(Kind::permit, 3, 3s, 5s));
  EXPECT_EQ(found(claims), 1U);
}

TEST(Claims, OfRecursiveLocksMayOverlapForTheirOwner) {
  Claim again = claim(Kind::recursive, 1, 2s, 4s);
  EXPECT_EQ(found({claim(Kind::recursive, 1, 1s, 3s), again}), 0U);
  again.thread = 1;
  EXPECT_EQ(found({claim(Kind::recursive, 1, 1s, 3s), again}), 1U);
}

TEST(Claims, HaveFencingTokensThatRise) {
  Claim first = claim(Kind::exclusive, 1, 1s, 2s);
  Claim second = claim(Kind::exclusive, 2, 3s, 4s);
  first.fence = 7;
  for (const auto& [fence, violations] : {std::pair{8U, 0U}, {7U, 1U}, {6U, 1U}}) {
    second.fence = fence;
    EXPECT_EQ(found({first, second}), violations);
  }
}

TEST(Claims, MayBeHadTwiceIfTheServerHasForgottenThem) {
  const std::vector<Claim> claims{claim(Kind::exclusive, 1, 1s, 5s),
                                  claim(Kind::exclusive, 2, 3s, 4s)};
  EXPECT_EQ(found(claims, {2s}), 0U);
  EXPECT_EQ(found(claims, {950ms}), 0U) << "the answer was on its way";
  EXPECT_EQ(found(claims, {6s}), 1U) << "that was later";
  EXPECT_EQ(found(claims, {800ms}), 1U) << "that was earlier";
}

TEST(Claims, MayBeHadTwiceWhileAFailoverHasLostOneOfThem) {
  std::vector<Claim> claims{claim(Kind::exclusive, 1, 1s, 5s), claim(Kind::exclusive, 2, 3s, 4s)};
  for (Claim& one : claims) {
    one.lost = {{1s, 10s}};
    EXPECT_EQ(found(claims), 0U);
    EXPECT_EQ(findings_in(claims, {}).lost, 1U);
    one.lost = {{2s, 3500ms}};
    EXPECT_EQ(found(claims), 1U) << "what was lost is over";
    one.lost = {{2s, 3500ms}, {3300ms, 4s}};
    EXPECT_EQ(found(claims), 0U) << "it was extended at the former primary";
    one.lost = {{3100ms, 4s}};
    EXPECT_EQ(found(claims), 1U) << "it was not lost yet";
    one.lost = {};
  }
  EXPECT_EQ(found(claims), 1U);
}

TEST(Claims, OfPermitsAreNotCountedWhenTheyAreLost) {
  std::vector<Claim> claims{claim(Kind::permit, 1, 1s, 5s), claim(Kind::permit, 2, 2s, 5s),
                            claim(Kind::permit, 3, 3s, 5s)};
  claims.front().lost = {{1s, 6s}};
  EXPECT_EQ(found(claims), 0U);
}

TEST(Claims, HaveFencingTokensThatRiseExceptOfLostOnes) {
  std::vector<Claim> claims{claim(Kind::exclusive, 1, 1s, 2s), claim(Kind::exclusive, 2, 3s, 4s),
                            claim(Kind::exclusive, 2, 5s, 6s)};
  claims[0].fence = 5;
  claims[1].fence = 9;
  claims[2].fence = 6;
  EXPECT_EQ(found(claims), 1U);
  claims[1].lost = {{2s, 4s}};
  EXPECT_EQ(found(claims), 0U);
}

TEST(Claims, AreNamed) {
  Claim one = claim(Kind::exclusive, 1, 1s, 2500ms);
  one.fence = 3;
  EXPECT_EQ(written(one),
            "Lock of key in process 1, thread 0 from 1.000000 to 2.500000 s, fencing token 3");
}

}  // namespace
}  // namespace redlatch::test::claims_test
