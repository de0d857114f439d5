// Histories made by hand: each broken promise is found, and what is excused is not.

#include "failover_check.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace redlatch::test {
namespace failover_check_test {

using namespace std::chrono_literals;

constexpr std::array roles{
    Role{.name = "Lock", .kind = LockKind::lock, .resource = 0, .ttl = 3000ms, .fences = true},
    Role{.name = "one", .kind = LockKind::lock, .resource = 0, .ttl = 3000ms, .replicas = 1},
    Role{.name = "both", .kind = LockKind::lock, .resource = 0, .ttl = 3000ms, .replicas = 2},
    Role{.name = "ReadLock", .kind = LockKind::read, .resource = 1},
    Role{.name = "WriteLock", .kind = LockKind::write, .resource = 1, .units = 10}};
constexpr std::array capacities{1, 10};
constexpr std::uint16_t lock = 0;
constexpr std::uint16_t one_replica = 1;
constexpr std::uint16_t both_replicas = 2;
constexpr std::uint16_t reader = 3;
constexpr std::uint16_t writer = 4;

Moment at(std::chrono::milliseconds time) { return Moment(1h) + time; }

class FailoverCheck : public testing::Test {
 protected:
  /// A lock that is asked for, acquired a millisecond later, and claimed until `until`. The next
  /// one is its own lease.
  Attempt& hold(std::uint16_t role, std::chrono::milliseconds asked,
                std::chrono::milliseconds until) {
    const std::chrono::milliseconds answered = asked + 1ms;
    Attempt one{};
    one.role = role;
    one.worker = static_cast<std::uint16_t>(attempts_.size());
    one.waits = true;
    one.outcome = Outcome::held;
    one.end = End::released;
    one.asked = at(asked);
    one.answered = at(answered);
    one.lease = attempts_.size();
    one.claimed_until = one.over = at(until);
    confirm(one, answered, answered);
    attempts_.push_back(one);
    return attempts_.back();
  }
  static void confirm(Attempt& one, std::chrono::milliseconds after,
                      std::chrono::milliseconds seen) {
    const std::chrono::milliseconds ttl = roles[one.role].ttl;
    one.confirmations[one.confirmed++] = {at(seen - 1ms) + ttl - ttl / 100 - 2ms, at(after),
                                          at(seen)};
  }
  void fail_over(Fault fault, std::chrono::milliseconds began, std::chrono::milliseconds lossy,
                 std::chrono::milliseconds served) {
    failovers_.push_back({fault, at(began), at(began + lossy), at(served), at(served + 1s)});
  }

  FailoverFindings found() const {
    return check({.roles = roles,
                  .capacities = capacities,
                  .replicas = 2,
                  .attempts = attempts_,
                  .failovers = failovers_,
                  .end = at(end_)});
  }
  void expect_violation(const std::string& text) const {
    const std::vector<std::string> violations = found().violations;
    ASSERT_EQ(violations.size(), 1U) << testing::PrintToString(violations);
    EXPECT_NE(violations[0].find(text), std::string::npos) << violations[0];
  }

  void expect_an_excused_overlap() const {
    EXPECT_TRUE(found().violations.empty());
    EXPECT_EQ(found().excused_overlaps, 1U);
  }

  std::vector<Attempt> attempts_ = [] {
    std::vector<Attempt> room;
    room.reserve(500);  // so that references stay good
    return room;
  }();
  std::vector<Failover> failovers_{};
  std::chrono::milliseconds end_{20s};
};

TEST_F(FailoverCheck, FindsNothingInAGoodHistory) {
  hold(lock, 0ms, 100ms).fence = 1;
  hold(lock, 50ms, 90ms).answered = at(110ms);
  attempts_.back().claimed_until = attempts_.back().over = at(150ms);
  attempts_.back().confirmations[0] = {at(3s), at(110ms), at(110ms)};
  hold(reader, 0ms, 100ms);
  hold(reader, 10ms, 100ms);
  hold(writer, 110ms, 200ms);
  const FailoverFindings findings = found();
  EXPECT_TRUE(findings.violations.empty()) << testing::PrintToString(findings.violations);
  EXPECT_EQ(findings.claims, 5U);
  EXPECT_EQ(findings.excused_overlaps, 0U);
}

TEST_F(FailoverCheck, FindsOverlappingClaims) {
  hold(lock, 0ms, 100ms);
  hold(lock, 90ms, 200ms);
  expect_violation("overlaps Lock of worker 0");
}

TEST_F(FailoverCheck, FindsAWriterBesideAReader) {
  hold(reader, 0ms, 100ms);
  hold(writer, 50ms, 60ms);
  expect_violation("overlaps ReadLock");
}

TEST_F(FailoverCheck, ExcusesAnOverlapWhereTheAcquisitionMayBeLost) {
  hold(lock, 980ms, 2500ms);
  fail_over(Fault::kill, 1000ms, 1ms, 2000ms);
  hold(lock, 2000ms, 2600ms);
  expect_an_excused_overlap();
}

TEST_F(FailoverCheck, DoesNotExcuseWhatWasWrittenLongBefore) {
  hold(lock, 500ms, 2500ms);
  fail_over(Fault::kill, 1000ms, 1ms, 2000ms);
  hold(lock, 2000ms, 2600ms);
  expect_violation("overlaps");
}

/// As if the answer of a stopped primary that has woken up had been believed.
TEST_F(FailoverCheck, DoesNotExcuseAnAnswerAfterTheFault) {
  fail_over(Fault::stop, 1000ms, 1ms, 2000ms);
  hold(lock, 2100ms, 2600ms);
  hold(lock, 990ms, 2700ms).answered = at(2200ms);
  attempts_.back().confirmations[0] = {at(3500ms), at(2200ms), at(2200ms)};
  expect_violation("overlaps");
}

TEST_F(FailoverCheck, ExcusesARenewalThatMayBeLost) {
  Attempt& renewed = hold(lock, 0ms, 4800ms);
  confirm(renewed, 1990ms, 2000ms);
  fail_over(Fault::kill, 2010ms, 1ms, 3000ms);
  hold(lock, 4000ms, 4900ms);
  expect_an_excused_overlap();
}

/// The lease was in its first holder's hands when the failover began.
TEST_F(FailoverCheck, SeesThroughAHandOver) {
  hold(lock, 0ms, 900ms);
  fail_over(Fault::failover, 1000ms, 500ms, 2000ms);
  Attempt& second = hold(lock, 1000ms, 2500ms);
  second.lease = 0;
  second.confirmations[0].until = attempts_[0].confirmations[0].until;
  hold(lock, 2100ms, 2200ms);
  expect_violation("overlaps");
}

TEST_F(FailoverCheck, NeverExcusesALockThatAllReplicasHave) {
  for (const Fault fault : {Fault::kill, Fault::stop, Fault::failover, Fault::name}) {
    attempts_.clear();
    failovers_.clear();
    hold(both_replicas, 1000ms, 2500ms);
    fail_over(fault, 1010ms, 500ms, 2000ms);
    hold(lock, 2100ms, 2200ms);
    expect_violation("overlaps both");
  }
}

TEST_F(FailoverCheck, ExcusesALockOfOneReplicaWhereAnotherIsPromoted) {
  hold(one_replica, 1000ms, 2500ms);
  fail_over(Fault::failover, 1010ms, 500ms, 2000ms);
  hold(lock, 2100ms, 2200ms);
  EXPECT_TRUE(found().violations.empty());
  failovers_[0].fault = Fault::kill;
  expect_violation("overlaps one");
}

TEST_F(FailoverCheck, FindsClaimsAfterTheEndOfValidity) {
  hold(lock, 0ms, 3000ms);
  expect_violation("claimed after the end of its validity");
}

TEST_F(FailoverCheck, FindsAValidityThatIsTooLong) {
  hold(lock, 0ms, 100ms).confirmations[0].until = at(2995ms);
  expect_violation("a validity that is longer than its ttl allows");
}

TEST_F(FailoverCheck, FindsTokensThatDoNotRise) {
  hold(lock, 0ms, 100ms).fence = 7;
  hold(lock, 110ms, 200ms).fence = 7;
  expect_violation("its fencing token does not rise");
}

TEST_F(FailoverCheck, FindsALossWithoutACause) {
  hold(lock, 0ms, 100ms).end = End::lost;
  expect_violation("lost though no write was lost");
  fail_over(Fault::kill, 10ms, 1ms, 50ms);
  EXPECT_TRUE(found().violations.empty());
  EXPECT_EQ(found().losses.at(0).lost.at(Fault::kill), 1U);
}

TEST_F(FailoverCheck, FindsALossInSpiteOfTheReplicas) {
  fail_over(Fault::kill, 10ms, 1ms, 50ms);
  hold(one_replica, 0ms, 100ms).end = End::lost_unseen;
  expect_violation("lost though no write was lost");
}

TEST_F(FailoverCheck, FindsALockThatNobodyGets) {
  hold(lock, 0ms, 100ms);
  Attempt& waiter = hold(lock, 50ms, 60ms);
  waiter.outcome = Outcome::waiting;
  expect_violation("nobody acquires it for 19900 ms");
}

TEST_F(FailoverCheck, FindsALockThatEveryAttemptFailsFor) {
  for (int i = 0; i < 100; ++i) {
    Attempt& one = hold(lock, i * 100ms, i * 100ms + 90ms);
    one.outcome = Outcome::failed;
    one.answered = one.over;
  }
  end_ = 10s;
  expect_violation("nobody acquires it for 10000 ms");
}

TEST_F(FailoverCheck, DoesNotCountAnOutage) {
  hold(lock, 0ms, 100ms);
  fail_over(Fault::kill, 110ms, 1ms, 10s);
  hold(lock, 50ms, 13100ms).answered = at(13s);
  attempts_.back().confirmations[0] = {at(13500ms), at(13s), at(13s)};
  EXPECT_TRUE(found().violations.empty());
  EXPECT_EQ(found().to_acquisition.at(Fault::kill).at(0), 12890ms);
}

TEST_F(FailoverCheck, FindsAWaiterThatIsPassedOver) {
  hold(lock, 0ms, 1ms).outcome = Outcome::waiting;
  for (int i = 0; i < 100; ++i) hold(lock, 10ms + i * 100ms, i * 100ms + 105ms);
  end_ = 10s;
  expect_violation("forgotten");
}

}  // namespace failover_check_test
}  // namespace redlatch::test
