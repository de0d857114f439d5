// Processes hold and wait for locks of all classes while the primary fails over again and again: it
// is killed, stopped and continued, demoted by SENTINEL FAILOVER, or left by the name that led to
// it; in a cluster, by CLUSTER FAILOVER, or the slot moves to another one. What they have claimed
// is judged afterwards. REDLATCH_FAILOVERS is the number of failovers, REDLATCH_SEED what their
// kinds and times are drawn from.

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "child.hpp"
#include "cluster_stage.hpp"
#include "environment.hpp"
#include "eventually.hpp"
#include "failover_stage.hpp"
#include "failovers.hpp"
#include "fake_resolver.hpp"
#include "history.hpp"
#include "history_check.hpp"
#include "incident.hpp"
#include "lock_worker.hpp"
#include "pulse.hpp"

namespace redlatch::test {
namespace failover_campaign_test {

using namespace std::chrono_literals;
using Clock = HistoryClock;

constexpr std::array capacities{1, 1, 1, 1, 1, 1, 1, 1000, 2, 1, 1, 1};
constexpr std::array roles{
    Role{.name = "Lock", .kind = LockKind::lock, .resource = 0, .fences = true},
    Role{.name = "Lock, ttl 300 ms", .kind = LockKind::lock, .resource = 1, .ttl = 300ms},
    Role{.name = "Lock, ttl 6 s",
         .kind = LockKind::lock,
         .resource = 2,
         .ttl = 6s,
         .max_hold = 400ms,
         .threads = 2},
    Role{.name = "Lock, not renewed",
         .kind = LockKind::lock,
         .resource = 3,
         .ttl = 1s,
         .renews = false},
    Role{.name = "Lock, 1 replica", .kind = LockKind::lock, .resource = 4, .replicas = 1},
    Role{.name = "Lock, 2 replicas", .kind = LockKind::lock, .resource = 5, .replicas = 2},
    Role{.name = "FairLock", .kind = LockKind::fair, .resource = 6, .fences = true},
    Role{.name = "ReadLock", .kind = LockKind::read, .resource = 7, .threads = 2},
    Role{
        .name = "WriteLock", .kind = LockKind::write, .resource = 7, .units = 1000, .fences = true},
    Role{.name = "Permit", .kind = LockKind::permit, .resource = 8, .ttl = 2s},
    Role{.name = "RecursiveLock", .kind = LockKind::recursive, .resource = 9},
    Role{.name = "MultiLock",
         .kind = LockKind::multi,
         .resource = 10,
         .resources = 2,
         .may_starve = true},
    Role{.name = "Lock beside MultiLock",
         .kind = LockKind::lock,
         .resource = 11,
         .max_pause = 1500ms}};

class FailoverCampaign : public testing::Test {
 protected:
  static constexpr std::uint16_t workers = 3;

  /// So many failovers, with three workers at it: one as it is by default, one that rides out, and
  /// one that is patient.
  Findings endure(Stage& stage, unsigned failovers, Flaw flaw = Flaw::none) {
    std::deque<Child> children;
    for (std::uint16_t i = 0; i < workers; ++i) {
      children.emplace_back([&, i] { run_worker(stage, i, flaw); });
    }
    Pulse pulse;
    Failovers all(stage);
    while (landed_ < failovers && missed_ <= failovers / 10 + 1) fail_over_once(stage, all);
    EXPECT_EQ(landed_, failovers) << "too many were not seen to land";
    work_goes_on(all);
    all.look();
    const Moment end = Clock::now();
    history_.shared().over = true;
    for (Child& child : children) EXPECT_EQ(child.wait(), 0);
    pulse.end();
    EXPECT_FALSE(history_.is_full()) << "there is no more room for what the workers do";
    incidents_.insert(incidents_.end(), all.unordered().begin(), all.unordered().end());
    incidents_ = with_busy_times(std::move(incidents_), pulse.incidents());
    const Findings found = check({.roles = roles,
                                  .capacities = capacities,
                                  .replicas = Stage::replicas,
                                  .attempts = history_.attempts(),
                                  .incidents = incidents_,
                                  .end = end});
    std::cout << found << "failovers: " << landed_ << ", not seen to land: " << missed_
              << ", not ordered: " << all.unordered().size()
              << ", times at which the machine had other work: " << pulse.incidents().size()
              << ", seed: " << seed_ << '\n';
    return found;
  }
  /// Each is shown with the failovers around it.
  void expect_none(const Findings& found) {
    constexpr std::size_t many = 20;
    for (std::size_t i = 0; i < std::min(many, found.violations.size()); ++i) {
      ADD_FAILURE() << found.violations[i].text;
    }
    if (!found.violations.empty()) print_incidents();
    for (const Role& role : roles) EXPECT_TRUE(found.held.contains(role.name)) << role.name;
  }

  static unsigned wanted(unsigned otherwise) { return chosen("REDLATCH_FAILOVERS", otherwise); }
  /// A server that is silent for so long is replaced. Beside other tests, one that lives may be
  /// silent for a second, and a failover that nobody has ordered excuses what it may lose.
  static std::chrono::milliseconds silence(std::chrono::milliseconds of_a_campaign) {
    return std::getenv("REDLATCH_FAILOVERS") != nullptr ? of_a_campaign : 2500ms;
  }

  History history_{};

 private:
  void run_worker(Stage& stage, std::uint16_t number, Flaw flaw) {
    FakeResolver resolver({"127.0.0.1"});
    WorkerOptions options{.url = stage.url(),
                          .number = number,
                          .seed = seed_ + 100'000U * number,
                          .rides_out = number == 1,
                          .flaw = flaw,
                          .set_address = [](std::size_t address) {
                            FakeResolver::set_addresses({"127.0.0." + std::to_string(address + 1)});
                          }};
    if (number == 2) options.client.client = {.connect_timeout = 3s, .command_timeout = 3s};
    work(options, roles, history_);
  }

  void work_goes_on(Failovers& failovers) {
    const std::uint64_t before = history_.shared().acquired;
    const std::uint64_t some = 20 + random_() % 80;
    const auto is_done = [&] { return history_.shared().acquired >= before + some; };
    const auto is_done_soon = [&] {
      failovers.look();
      return eventually(is_done, 100ms);
    };
    EXPECT_TRUE(eventually(is_done_soon, 60s));
  }
  void fail_over_once(Stage& stage, Failovers& failovers) {
    work_goes_on(failovers);
    const auto faults = stage.faults();
    const auto [incident, landed] =
        failovers.order(faults[(landed_ + missed_) % faults.size()], random_);
    incidents_.push_back(incident);
    ++(landed ? landed_ : missed_);
  }
  void print_incidents() const {
    const auto attempts = history_.attempts();
    Moment start = Moment::max();
    for (const Attempt& one : attempts) start = std::min(start, one.asked);
    const auto time = [&](Moment at) { return std::chrono::duration<double>(at - start).count(); };
    for (const Incident& one : incidents_) {
      if (one.fault == Fault::machine_busy) continue;
      std::cout << to_string(one.fault) << ": began " << time(one.began) << " s, lossy until "
                << time(one.lossy_until) << ", served " << time(one.served) << ", healthy "
                << time(one.healthy) << '\n';
    }
  }

  const unsigned seed_ = chosen("REDLATCH_SEED", std::random_device()());
  const testing::ScopedTrace trace_{__FILE__, __LINE__, "REDLATCH_SEED=" + std::to_string(seed_)};
  std::mt19937 random_{seed_};
  std::vector<Incident> incidents_{};
  unsigned landed_ = 0;
  unsigned missed_ = 0;
};

TEST_F(FailoverCampaign, KeepsEveryPromiseWhenANameMoves) {
  NameStage stage(history_.shared());
  expect_none(endure(stage, wanted(4)));
}

/// With $REDLATCH_TEST_TLS set, over TLS.
TEST_F(FailoverCampaign, KeepsEveryPromiseOverSentinel) {
  SentinelStage stage(
      {.tls = std::getenv("REDLATCH_TEST_TLS") != nullptr, .down_after = silence(500ms)});
  expect_none(endure(stage, wanted(3)));
}

TEST_F(FailoverCampaign, KeepsEveryPromiseOnACluster) {
  ClusterStage stage(key_of(0), {.replicas = Stage::replicas,
                                 .node_timeout = silence(1s),
                                 .tls = std::getenv("REDLATCH_TEST_TLS") != nullptr});
  expect_none(endure(stage, wanted(6)));
}

/// The old primary goes on for a while: what it grants then is lost.
TEST_F(FailoverCampaign, CountsWhatAFailoverLoses) {
  NameStage stage(history_.shared(), 700ms);
  const Findings found = endure(stage, 6);
  // Locks that both replicas have may be lost as well, by their renewals, which wait for none.
  EXPECT_FALSE(found.losses.at(0).lost.empty());
  EXPECT_GT(found.excused_overlaps, 0U);
}

TEST_F(FailoverCampaign, FindsClaimsThatLastTooLong) {
  NameStage stage(history_.shared(), 700ms);
  const Findings found = endure(stage, 3, Flaw::claims_longer);
  EXPECT_FALSE(found.violations.empty());
}

}  // namespace failover_campaign_test
}  // namespace redlatch::test
