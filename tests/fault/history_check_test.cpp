// Histories made by hand: each broken promise is found, and what is excused is not.

#include "history_check.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace redlatch::test {
namespace history_check_test {

using namespace std::chrono_literals;

constexpr std::array roles{
    Role{.name = "Lock", .kind = LockKind::lock, .resource = 0, .ttl = 3000ms, .fences = true},
    Role{.name = "one", .kind = LockKind::lock, .resource = 0, .ttl = 3000ms, .replicas = 1},
    Role{.name = "both", .kind = LockKind::lock, .resource = 0, .ttl = 3000ms, .replicas = 2},
    Role{.name = "ReadLock", .kind = LockKind::read, .resource = 1},
    Role{.name = "WriteLock", .kind = LockKind::write, .resource = 1, .units = 10},
    Role{.name = "Permit", .kind = LockKind::permit, .resource = 2},
    Role{.name = "RecursiveLock", .kind = LockKind::recursive, .resource = 3}};
constexpr std::array capacities{1, 10, 2, 1};
constexpr std::uint16_t lock = 0;
constexpr std::uint16_t one_replica = 1;
constexpr std::uint16_t both_replicas = 2;
constexpr std::uint16_t reader = 3;
constexpr std::uint16_t writer = 4;
constexpr std::uint16_t permit = 5;
constexpr std::uint16_t recursive = 6;

Moment at(std::chrono::milliseconds time) { return Moment(1h) + time; }

class HistoryCheck : public testing::Test {
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
    one.ttl = roles[role].ttl;
    one.replicas = roles[role].replicas;
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
                                          at(seen), ttl};
  }
  void fail_over(Fault fault, std::chrono::milliseconds began, std::chrono::milliseconds lossy,
                 std::chrono::milliseconds served) {
    incidents_.push_back({.fault = fault,
                          .began = at(began),
                          .lossy_until = at(began + lossy),
                          .served = at(served),
                          .healthy = at(served + 1s)});
  }
  void kill(const Attempt& one, std::chrono::milliseconds time) {
    fail_over(Fault::worker_killed, time, 1ms, time + 2ms);
    incidents_.back().killed = one.worker;
  }

  test::Run run() const {
    return {.roles = roles,
            .capacities = capacities,
            .replicas = 2,
            .attempts = attempts_,
            .incidents = incidents_,
            .leftovers = leftovers_,
            .end = at(end_)};
  }
  Findings found() const { return check(run()); }
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const Violation& one : found().violations) all.push_back(one.text);
    return all;
  }
  void expect_none() const { EXPECT_EQ(texts(), std::vector<std::string>()); }
  void expect_violation(const std::string& text) const {
    const std::vector<std::string> violations = texts();
    ASSERT_EQ(violations.size(), 1U) << testing::PrintToString(violations);
    EXPECT_NE(violations[0].find(text), std::string::npos) << violations[0];
  }

  void expect_an_excused_overlap() const {
    expect_none();
    EXPECT_EQ(found().excused_overlaps, 1U);
  }

  std::vector<Attempt> attempts_ = [] {
    std::vector<Attempt> room;
    room.reserve(500);  // so that references stay good
    return room;
  }();
  std::vector<Incident> incidents_{};
  std::vector<Leftover> leftovers_{};
  std::chrono::milliseconds end_{20s};
};

TEST_F(HistoryCheck, FindsNothingInAGoodHistory) {
  hold(lock, 0ms, 100ms).fence = 1;
  hold(lock, 50ms, 90ms).answered = at(110ms);
  attempts_.back().claimed_until = attempts_.back().over = at(150ms);
  attempts_.back().confirmations[0] = {at(3s), at(110ms), at(110ms), 3s};
  hold(reader, 0ms, 100ms);
  hold(reader, 10ms, 100ms);
  hold(writer, 110ms, 200ms);
  const Findings findings = found();
  expect_none();
  EXPECT_EQ(findings.claims, 5U);
  EXPECT_EQ(findings.excused_overlaps, 0U);
}

TEST_F(HistoryCheck, FindsOverlappingClaims) {
  hold(lock, 0ms, 100ms);
  hold(lock, 90ms, 200ms);
  expect_violation("overlaps Lock of worker 0");
}

TEST_F(HistoryCheck, FindsAWriterBesideAReader) {
  hold(reader, 0ms, 100ms);
  hold(writer, 50ms, 60ms);
  expect_violation("overlaps ReadLock");
}

TEST_F(HistoryCheck, ExcusesAnOverlapWhereTheAcquisitionMayBeLost) {
  hold(lock, 980ms, 2500ms);
  fail_over(Fault::kill, 1000ms, 1ms, 2000ms);
  hold(lock, 2000ms, 2600ms);
  expect_an_excused_overlap();
}

TEST_F(HistoryCheck, DoesNotExcuseWhatWasWrittenLongBefore) {
  hold(lock, 500ms, 2500ms);
  fail_over(Fault::kill, 1000ms, 1ms, 2000ms);
  hold(lock, 2000ms, 2600ms);
  expect_violation("overlaps");
}

/// As if the answer of a stopped primary that has woken up had been believed.
TEST_F(HistoryCheck, DoesNotExcuseAnAnswerAfterTheFault) {
  fail_over(Fault::stop, 1000ms, 1ms, 2000ms);
  hold(lock, 2100ms, 2600ms);
  hold(lock, 990ms, 2700ms).answered = at(2200ms);
  attempts_.back().confirmations[0] = {at(3500ms), at(2200ms), at(2200ms), 3s};
  expect_violation("overlaps");
}

TEST_F(HistoryCheck, ExcusesARenewalThatMayBeLost) {
  Attempt& renewed = hold(lock, 0ms, 4800ms);
  confirm(renewed, 1990ms, 2000ms);
  fail_over(Fault::kill, 2010ms, 1ms, 3000ms);
  hold(lock, 4000ms, 4900ms);
  expect_an_excused_overlap();
}

/// The lease was in its first holder's hands when the failover began.
TEST_F(HistoryCheck, SeesThroughAHandOver) {
  hold(lock, 0ms, 900ms);
  fail_over(Fault::failover, 1000ms, 500ms, 2000ms);
  Attempt& second = hold(lock, 1000ms, 2500ms);
  second.lease = 0;
  second.confirmations[0].until = attempts_[0].confirmations[0].until;
  hold(lock, 2100ms, 2200ms);
  expect_violation("overlaps");
}

TEST_F(HistoryCheck, NeverExcusesALockThatAllReplicasHave) {
  for (const Fault fault : {Fault::kill, Fault::stop, Fault::failover, Fault::name}) {
    attempts_.clear();
    incidents_.clear();
    hold(both_replicas, 1000ms, 2500ms);
    fail_over(fault, 1010ms, 500ms, 2000ms);
    hold(lock, 2100ms, 2200ms);
    expect_violation("overlaps both");
  }
}

TEST_F(HistoryCheck, ExcusesALockOfOneReplicaWhereAnotherIsPromoted) {
  hold(one_replica, 1000ms, 2500ms);
  fail_over(Fault::failover, 1010ms, 500ms, 2000ms);
  hold(lock, 2100ms, 2200ms);
  expect_none();
  incidents_[0].fault = Fault::kill;
  expect_violation("overlaps one");
}

TEST_F(HistoryCheck, FindsClaimsAfterTheEndOfValidity) {
  hold(lock, 0ms, 3000ms);
  expect_violation("claimed after the end of its validity");
}

TEST_F(HistoryCheck, FindsAValidityThatIsTooLong) {
  hold(lock, 0ms, 100ms).confirmations[0].until = at(2995ms);
  expect_violation("a validity that is longer than its ttl allows");
}

TEST_F(HistoryCheck, FindsAValidityThatBeginsWithTheAnswer) {
  Attempt& one = hold(lock, 0ms, 100ms);
  one.round_trip = 20ms;
  expect_none();
  one.round_trip = 30ms;
  expect_violation("a validity that is longer than its ttl allows");
}

TEST_F(HistoryCheck, FindsTokensThatDoNotRise) {
  hold(lock, 0ms, 100ms).fence = 7;
  hold(lock, 110ms, 200ms).fence = 7;
  expect_violation("its fencing token does not rise");
}

TEST_F(HistoryCheck, FindsALossWithoutACause) {
  hold(lock, 0ms, 100ms).end = End::lost;
  expect_violation("lost though no write was lost");
  fail_over(Fault::kill, 10ms, 1ms, 50ms);
  expect_none();
  EXPECT_EQ(found().losses.at(0).lost.at(Fault::kill), 1U);
}

TEST_F(HistoryCheck, FindsALossInSpiteOfTheReplicas) {
  fail_over(Fault::kill, 10ms, 1ms, 50ms);
  hold(one_replica, 0ms, 100ms).end = End::lost_unseen;
  expect_violation("lost though no write was lost");
}

TEST_F(HistoryCheck, FindsALockThatNobodyGets) {
  hold(lock, 0ms, 100ms);
  Attempt& waiter = hold(lock, 50ms, 60ms);
  waiter.outcome = Outcome::waiting;
  expect_violation("nobody acquires it for 19900 ms");
}

TEST_F(HistoryCheck, FindsALockThatEveryAttemptFailsFor) {
  for (int i = 0; i < 100; ++i) {
    Attempt& one = hold(lock, i * 100ms, i * 100ms + 90ms);
    one.outcome = Outcome::failed;
    one.answered = one.over;
  }
  end_ = 10s;
  expect_violation("nobody acquires it for 10000 ms");
}

TEST_F(HistoryCheck, DoesNotCountAnOutage) {
  hold(lock, 0ms, 100ms);
  fail_over(Fault::kill, 110ms, 1ms, 10s);
  hold(lock, 50ms, 13100ms).answered = at(13s);
  attempts_.back().confirmations[0] = {at(13500ms), at(13s), at(13s), 3s};
  expect_none();
  EXPECT_EQ(found().to_acquisition.at(Fault::kill).at(0), 12890ms);
}

TEST_F(HistoryCheck, FindsAWaiterThatIsPassedOver) {
  hold(lock, 0ms, 1ms).outcome = Outcome::waiting;
  for (int i = 0; i < 100; ++i) hold(lock, 10ms + i * 100ms, i * 100ms + 105ms);
  end_ = 10s;
  expect_violation("forgotten");
}

TEST_F(HistoryCheck, LetsAnIncidentSendAWaiterToTheEndOfTheQueue) {
  hold(lock, 0ms, 1ms).outcome = Outcome::waiting;
  for (int i = 0; i < 100; ++i) hold(lock, 10ms + i * 100ms, i * 100ms + 105ms);
  fail_over(Fault::connections_cut, 4700ms, 1ms, 4800ms);
  end_ = 10s;
  expect_none();
  incidents_[0].served = at(2s);
  incidents_[0].began = at(1900ms);
  expect_violation("forgotten");
}

TEST_F(HistoryCheck, LetsClientsThatCannotQueueUpTakeWhatIsFree) {
  hold(lock, 0ms, 1ms).outcome = Outcome::waiting;
  for (int i = 0; i < 100; ++i) hold(lock, 10ms + i * 100ms, i * 100ms + 105ms).may_starve = true;
  end_ = 10s;
  expect_none();
}

TEST_F(HistoryCheck, LetsAWriterThatWaitsKeepReadersOut) {
  hold(reader, 0ms, 9s).confirmations[0] = {at(9500ms), at(7s), at(7s), 3s};
  hold(writer, 10ms, 10ms).outcome = Outcome::waiting;
  hold(reader, 20ms, 20ms).outcome = Outcome::waiting;
  end_ = 9s;
  expect_none();
  attempts_[1].outcome = Outcome::missed;
  attempts_[1].answered = at(30ms);
  expect_violation("nobody acquires it for 8970 ms");
}

TEST_F(HistoryCheck, FindsMorePermitsThanThereAre) {
  hold(permit, 0ms, 100ms);
  hold(permit, 10ms, 100ms);
  expect_none();
  hold(permit, 20ms, 100ms);
  expect_violation("overlaps Permit of worker 0");
}

TEST_F(HistoryCheck, FindsTwoOwnersOfARecursiveLock) {
  hold(recursive, 0ms, 100ms).owner = 7;
  hold(recursive, 10ms, 50ms).owner = 7;
  expect_none();
  hold(recursive, 60ms, 70ms).owner = 8;
  expect_violation("overlaps RecursiveLock of worker 0");
}

TEST_F(HistoryCheck, FindsAClaimBehindAShorterExtension) {
  Attempt& one = hold(lock, 0ms, 250ms);
  one.confirmations[one.confirmed++] = {at(195ms), at(100ms), at(101ms), 100ms};
  expect_violation("claimed after the end of its validity");
  one.claimed_until = one.over = at(190ms);
  expect_none();
}

TEST_F(HistoryCheck, ExcusesNothingByAFaultThatLosesNothing) {
  for (const FaultKind& kind : all_faults()) {
    if (kind.loss != Loss::none) continue;
    attempts_.clear();
    incidents_.clear();
    hold(lock, 990ms, 2500ms);
    fail_over(kind.fault, 1000ms, 500ms, 1600ms);
    hold(lock, 2000ms, 2600ms);
    expect_violation("overlaps Lock of worker 0");
  }
}

/// However long ago it was written, and whatever replicas have it.
TEST_F(HistoryCheck, ExcusesWhatAServerHasForgotten) {
  hold(both_replicas, 0ms, 2500ms);
  fail_over(Fault::all_flushed, 1000ms, 1ms, 1100ms);
  hold(lock, 2000ms, 2600ms);
  expect_an_excused_overlap();
  EXPECT_EQ(found().excuses.at(Fault::all_flushed), 1U);
}

/// Its answer was held back on the way.
TEST_F(HistoryCheck, ExcusesAnAnswerThatComesBehindTheLoss) {
  hold(lock, 300ms, 2500ms).answered = at(1000ms);
  attempts_.back().confirmations[0] = {at(3250ms), at(1000ms), at(1000ms), 3s};
  fail_over(Fault::server_restarted_empty, 500ms, 100ms, 700ms);
  hold(lock, 800ms, 2600ms);
  expect_an_excused_overlap();
}

TEST_F(HistoryCheck, DoesNotExcuseWhatWasWrittenBehindALoss) {
  fail_over(Fault::server_restarted_empty, 500ms, 100ms, 700ms);
  hold(lock, 1000ms, 2500ms);
  hold(lock, 2000ms, 2600ms);
  expect_violation("overlaps Lock");
}

TEST_F(HistoryCheck, ExcusesADeletedKeyOnly) {
  hold(lock, 0ms, 2500ms);
  fail_over(Fault::key_deleted, 1000ms, 1ms, 1100ms);
  incidents_[0].resource = 1;
  hold(lock, 2000ms, 2600ms);
  expect_violation("overlaps Lock");
  incidents_[0].resource = 0;
  expect_an_excused_overlap();
}

TEST_F(HistoryCheck, ExcusesNoTokenByALoss) {
  hold(lock, 0ms, 100ms).fence = 7;
  fail_over(Fault::all_flushed, 105ms, 1ms, 107ms);
  hold(lock, 110ms, 200ms).fence = 6;
  expect_violation("its fencing token does not rise");
}

TEST_F(HistoryCheck, LetsALockOfTheDeadEnd) {
  hold(lock, 0ms, 100ms).end = End::still_held;
  kill(attempts_[0], 100ms);
  hold(lock, 50ms, 9s).answered = at(7s);
  attempts_.back().confirmations[0] = {at(9500ms), at(7s), at(7s), 3s};
  expect_none();  // for 3.9 s behind its ttl, of at most 4.3 s
  attempts_[1].answered = attempts_[1].confirmations[0].after = at(7500ms);
  expect_violation("nobody acquires it for 4399 ms");
  attempts_[0].ttl = 5s;
  expect_none();
}

/// The dead waited while another one held it for long.
TEST_F(HistoryCheck, FindsALockThatWasGrantedToTheDead) {
  hold(lock, 0ms, 2000ms);
  Attempt& dead = hold(lock, 10ms, 10ms);
  dead.outcome = Outcome::waiting;
  dead.answered = dead.over = dead.claimed_until = {};
  dead.confirmed = 0;
  dead.ttl = 60s;
  kill(dead, 1000ms);
  hold(lock, 20ms, 9s).answered = at(8s);
  attempts_.back().confirmations[0] = {at(9500ms), at(8s), at(8s), 3s};
  expect_violation("nobody acquires it for 6000 ms");
  fail_over(Fault::requests_late, 900ms, 1ms, 1100ms);
  expect_none();
  incidents_.pop_back();
  attempts_[0].claimed_until = attempts_[0].over = at(1050ms);
  expect_none();
}

/// The new primary has the lock still, for its ttl.
TEST_F(HistoryCheck, LetsALockEndWhoseReleaseIsLost) {
  hold(lock, 0ms, 1000ms);
  fail_over(Fault::failover, 900ms, 200ms, 1200ms);
  hold(lock, 50ms, 7300ms).answered = at(7200ms);
  attempts_.back().confirmations[0] = {at(9500ms), at(7200ms), at(7200ms), 3s};
  expect_none();  // for 3.2 s behind its ttl, of at most 4.3 s
  incidents_[0].fault = Fault::planned;
  expect_violation("nobody acquires it for 6000 ms");
}

TEST_F(HistoryCheck, FindsAKeyThatIsLeft) {
  hold(lock, 0ms, 100ms);
  leftovers_.push_back({"{locks}:0", 0, at(3s), 1s});
  expect_violation("{locks}:0 is left for 1000 ms");
  end_ = 2s;
  attempts_[0].end = End::unknown;
  expect_none();
  leftovers_[0].seen = at(5s);
  expect_violation("{locks}:0 is left for 1000 ms");
  kill(attempts_[0], 2s);
  expect_none();
  leftovers_[0].ttl = -1ms;
  expect_violation("{locks}:0 is left for ever");
}

/// A release that is repeated until it is answered, and a server that could be reached for long.
TEST_F(HistoryCheck, FindsAKeyThatIsNotTakenBack) {
  hold(lock, 0ms, 0ms).outcome = Outcome::failed;
  attempts_[0].ttl = 60s;
  fail_over(Fault::connections_cut, 10ms, 1ms, 3s);
  leftovers_.push_back({"{locks}:0", 0, at(6s), 55s});
  end_ = 5500ms;
  expect_violation("{locks}:0 is left for 55000 ms");
  end_ = 5s;
  expect_none();
  end_ = 5500ms;
  fail_over(Fault::machine_busy, 4s, 1ms, 5501ms);
  expect_none();
}

TEST_F(HistoryCheck, LetsAQueueBeLeftByABusyMachine) {
  hold(lock, 0ms, 100ms);
  leftovers_.push_back({"{locks}:0:redlatch:queue", 0, at(21s), 50s});
  expect_violation("{locks}:0:redlatch:queue is left for 50000 ms");
  fail_over(Fault::machine_busy, 19s, 1ms, 20s);
  expect_none();
  leftovers_[0].key = "{locks}:0";
  expect_violation("{locks}:0 is left for 50000 ms");
}

/// A client of a busy machine goes on at the former primary, until it hears of the failover.
TEST_F(HistoryCheck, ExcusesLateWritesOfABusyMachine) {
  hold(lock, 2900ms, 3500ms);
  hold(lock, 3000ms, 3600ms);
  fail_over(Fault::unordered, 1000ms, 100ms, 1500ms);
  fail_over(Fault::machine_busy, 1500ms, 50ms, 2500ms);
  expect_violation("overlaps Lock");
  fail_over(Fault::machine_busy, 2400ms, 50ms, 3400ms);
  incidents_ = with_busy_times({incidents_[0]}, std::span(incidents_).subspan(1));
  EXPECT_EQ(incidents_.size(), 3U);
  EXPECT_EQ(incidents_[0].lossy_until, at(3400ms));
  expect_an_excused_overlap();
}

TEST_F(HistoryCheck, LetsNoOtherFaultLastLongerOnABusyMachine) {
  fail_over(Fault::all_flushed, 1000ms, 100ms, 1500ms);
  fail_over(Fault::failover, 1000ms, 100ms, 1500ms);
  fail_over(Fault::machine_busy, 1600ms, 50ms, 2500ms);
  incidents_ = with_busy_times({incidents_[0], incidents_[1]}, std::span(incidents_).subspan(2));
  EXPECT_EQ(incidents_[0].lossy_until, at(1100ms));
  EXPECT_EQ(incidents_[1].lossy_until, at(1100ms));
}

TEST_F(HistoryCheck, ShowsWhatThereIsToLookAt) {
  hold(lock, 0ms, 100ms);
  hold(reader, 0ms, 100ms);
  hold(lock, 95ms, 200ms);
  fail_over(Fault::worker_stopped, 50ms, 1ms, 60ms);
  hold(lock, 300ms, 400ms);
  const test::Run all = run();
  const std::vector<Violation> violations = check(all).violations;
  ASSERT_EQ(violations.size(), 1U);
  const std::string window =
      RunView(all).window(violations[0].resource, violations[0].from, violations[0].to);
  EXPECT_EQ(std::ranges::count(window, '\n'), 3) << window;
  EXPECT_NE(window.find("worker: SIGSTOP"), std::string::npos) << window;
}

}  // namespace history_check_test
}  // namespace redlatch::test
