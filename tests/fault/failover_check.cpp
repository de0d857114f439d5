#include "failover_check.hpp"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// Between what a server does and what a worker has noted of it, on a machine that is busy.
constexpr milliseconds lag = 100ms;
/// Of the ttl, for clocks that run at different speeds: the library must not count it.
constexpr nanoseconds drift(milliseconds ttl) { return nanoseconds(ttl) / 100 + 2ms; }
/// Within ttl + 1 s a waiter acquires, once there is nothing in its way.
constexpr milliseconds patience = 1s;
/// So often may others that have come later be served first, before a waiter counts as forgotten.
constexpr int max_overtaken = 60;

/// What is known of one lease. It may have several holders in a row, in threads of one process.
class LeaseFacts {
 public:
  void add(const Confirmation& one) {
    acquired_until_ = std::min(acquired_until_, one.until);
    const auto same = std::ranges::find_if(all_, [&](const Confirmation& other) {
      return std::chrono::abs(other.until - one.until) < reading_error;
    });
    if (same == all_.end()) {
      all_.push_back(one);
    } else if (one.seen < same->seen) {
      *same = one;
    }
  }
  /// As whoever saw it first has seen it.
  const Confirmation& first(const Confirmation& one) const {
    return *std::ranges::min_element(all_, {}, [&](const Confirmation& other) {
      return std::chrono::abs(other.until - one.until);
    });
  }
  /// Until then by the acquisition, without any renewal.
  Moment acquired_until() const { return acquired_until_; }

 private:
  std::vector<Confirmation> all_{};
  Moment acquired_until_{Moment::max()};
};

class Checker {
 public:
  explicit Checker(const FailoverRun& run) : run_(run) {
    for (const Attempt& one : run.attempts) start_ = std::min(start_, one.asked);
  }

  FailoverFindings result() {
    collect_leases();
    for (const Attempt& one : run_.attempts) look_at(one);
    for (std::size_t i = 0; i < run_.capacities.size(); ++i) {
      sweep_claims(i);
      sweep_tokens(i);
      sweep_waits(i);
    }
    for (const Failover& one : run_.failovers) measure(one);
    return std::move(found_);
  }

 private:
  const Role& role_of(const Attempt& one) const { return run_.roles[one.role]; }
  static bool was_held(const Attempt& one) { return one.outcome == Outcome::held; }
  static bool is_claim(const Attempt& one) {
    return was_held(one) && one.claimed_until >= one.answered;
  }
  bool uses(const Attempt& one, std::size_t resource) const {
    const Role& role = role_of(one);
    return role.resource <= resource && resource < role.resource + role.resources;
  }

  double seconds(Moment at) const { return std::chrono::duration<double>(at - start_).count(); }

  void violation(Moment at, const Attempt& one, const std::string& what) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(3) << seconds(at) << " s, " << describe(one) << ": "
         << what;
    found_.violations.push_back(std::move(text).str());
  }
  std::string describe(const Attempt& one) const {
    std::ostringstream text;
    text << std::fixed << std::setprecision(3) << role_of(one).name << " of worker " << one.worker
         << " (asked " << seconds(one.asked);
    if (was_held(one)) {
      text << ", held " << seconds(one.answered) << " to " << seconds(one.claimed_until)
           << ", lease " << std::hex << (one.lease & 0xffff) << std::dec;
      for (const Confirmation& each : one.all_confirmations()) {
        text << ", at " << seconds(each.seen) << " until " << seconds(each.until);
      }
    }
    text << ')';
    return std::move(text).str();
  }

  void collect_leases() {
    for (const Attempt& one : run_.attempts) {
      if (!was_held(one)) continue;
      for (const Confirmation& confirmation : one.all_confirmations()) {
        leases_[one.lease].add(confirmation);
      }
    }
  }

  /// What one attempt shows by itself.
  void look_at(const Attempt& one) {
    const Role& role = role_of(one);
    if (one.outcome == Outcome::failed) ++found_.errors[one.error.data()];
    if (!was_held(one)) return;
    ++found_.claims;
    ++found_.held[role.name];
    FailoverFindings::Losses& losses = found_.losses[role.replicas];
    ++losses.held;
    found_.renewals += one.confirmed > 0 ? one.confirmed - 1 : 0;
    Moment until{};
    for (const Confirmation& confirmation : one.all_confirmations()) {
      until = std::max(until, confirmation.until);
      if (confirmation.until - confirmation.seen > role.ttl - drift(role.ttl) + reading_error) {
        violation(confirmation.seen, one, "a validity that is longer than its ttl allows");
      }
    }
    if (is_claim(one) && one.claimed_until > until) {
      violation(one.claimed_until, one, "claimed after the end of its validity");
    }
    if (one.end == End::ran_out) ++losses.ran_out;
    if (one.end != End::lost && one.end != End::lost_unseen) return;
    if (const Failover* const excuse = excuse_of(one, one.over); excuse != nullptr) {
      ++losses.lost[excuse->fault];
    } else {
      violation(one.over, one, "lost though no write was lost");
    }
  }

  /// The failover in which what the claim relies on at that moment may have been lost; null: it was
  /// not.
  const Failover* excuse_of(const Attempt& one, Moment at) const {
    const std::optional<Confirmation> basis = basis_at(one, at);
    if (!basis) return nullptr;
    const LeaseFacts& lease = leases_.at(one.lease);
    const Confirmation& written = lease.first(*basis);
    const bool is_renewed = at >= lease.acquired_until();
    const auto excuse = std::ranges::find_if(run_.failovers, [&](const Failover& failover) {
      return failover.began <= at && written.seen >= failover.began - lag &&
             written.after <= failover.lossy_until + lag &&
             may_lose(failover.fault, is_renewed ? 0 : role_of(one).replicas);
    });
    return excuse == run_.failovers.end() ? nullptr : &*excuse;
  }
  /// Renewals wait for no replica. Where the old primary goes on for a while with the replicas that
  /// are not promoted, fewer than all of them may not have the one that is.
  bool may_lose(Fault fault, int replicas) const {
    if (fault == Fault::planned || fault == Fault::moved) return false;
    return replicas == 0 || (replicas < run_.replicas && goes_on(fault));
  }
  static bool goes_on(Fault fault) {
    return fault == Fault::failover || fault == Fault::name || fault == Fault::takeover;
  }
  static std::optional<Confirmation> basis_at(const Attempt& one, Moment at) {
    std::optional<Confirmation> basis;
    for (const Confirmation& confirmation : one.all_confirmations()) {
      if (!basis || confirmation.seen <= at) basis = confirmation;
    }
    return basis;
  }

  /// Whoever claims a resource while it is full: each beginning of a claim is looked at.
  void sweep_claims(std::size_t resource) {
    std::vector<const Attempt*> claims;
    for (const Attempt& one : run_.attempts) {
      if (is_claim(one) && uses(one, resource)) claims.push_back(&one);
    }
    std::ranges::sort(claims, {}, [](const Attempt* one) { return one->answered; });
    std::vector<const Attempt*> active;
    for (const Attempt* one : claims) {
      std::erase_if(active,
                    [&](const Attempt* other) { return other->claimed_until < one->answered; });
      active.push_back(one);
      judge(active, run_.capacities[resource], *one);
    }
  }
  void judge(const std::vector<const Attempt*>& active, int capacity, const Attempt& latest) {
    int units = 0;
    for (const Attempt* one : active) units += role_of(*one).units;
    if (units <= capacity) return;
    int certain = 0;
    for (const Attempt* one : active) {
      if (excuse_of(*one, latest.answered) == nullptr) certain += role_of(*one).units;
    }
    if (certain <= capacity) {
      ++found_.excused_overlaps;
      return;
    }
    std::ostringstream text;
    text << "overlaps";
    for (const Attempt* one : active) {
      if (one != &latest) text << ' ' << describe(*one);
    }
    violation(latest.answered, latest, std::move(text).str());
  }

  /// A token is larger than all that were answered before it was asked for.
  void sweep_tokens(std::size_t resource) {
    std::vector<const Attempt*> by_asked;
    for (const Attempt& one : run_.attempts) {
      if (was_held(one) && one.fence != 0 && uses(one, resource)) by_asked.push_back(&one);
    }
    std::vector<const Attempt*> by_answered = by_asked;
    std::ranges::sort(by_asked, {}, [](const Attempt* one) { return one->asked; });
    std::ranges::sort(by_answered, {}, [](const Attempt* one) { return one->answered; });
    std::uint64_t largest = 0;
    auto next = by_answered.begin();
    for (const Attempt* one : by_asked) {
      for (; next != by_answered.end() && (*next)->answered < one->asked; ++next) {
        largest = std::max(largest, (*next)->fence);
      }
      if (one->fence <= largest) violation(one->answered, *one, "its fencing token does not rise");
    }
  }

  /// The time from `from` to `to` in which no failover is under way.
  nanoseconds healthy_time(Moment from, Moment to, bool needs_replicas) const {
    nanoseconds time = to - from;
    for (const Failover& one : run_.failovers) {
      const Moment end = needs_replicas ? one.healthy : one.served;
      time -= std::max(nanoseconds(0), nanoseconds(std::min(to, end) - std::max(from, one.began)));
    }
    return time;
  }

  struct Step {
    Moment at;
    enum { released, given_up, asked, acquired } what;
    const Attempt* attempt;
  };
  std::vector<Step> steps_of(std::size_t resource) const {
    std::vector<Step> steps;
    for (const Attempt& one : run_.attempts) {
      if (!uses(one, resource)) continue;
      if (one.waits) steps.push_back({one.asked, Step::asked, &one});
      if (one.waits && (one.outcome == Outcome::missed || one.outcome == Outcome::failed)) {
        steps.push_back({one.answered, Step::given_up, &one});
      }
      if (!was_held(one)) continue;
      steps.push_back({one.answered, Step::acquired, &one});
      if (one.end != End::still_held) {
        steps.push_back({std::max(one.over, one.answered), Step::released, &one});
      }
    }
    std::ranges::stable_sort(steps, {}, [](const Step& step) { return step.at; });
    return steps;
  }

  /// For how long a resource is free although there are attempts to get it. Those that fail
  /// meanwhile are made again by the workers.
  void sweep_waits(std::size_t resource) {
    const std::vector<Step> steps = steps_of(resource);
    std::vector<const Attempt*> waiting;
    int active = 0;
    std::optional<Step> free_since;
    for (const Step& step : steps) {
      const int units = role_of(*step.attempt).units;
      if (step.what == Step::asked && !role_of(*step.attempt).may_starve) {
        waiting.push_back(step.attempt);
      }
      if (step.what == Step::given_up || step.what == Step::acquired) {
        std::erase(waiting, step.attempt);
      }
      if (step.what == Step::released) active -= units;
      if (step.what == Step::acquired) {
        active += units;
        if (free_since) end_gap(*free_since, step.at);
        free_since.reset();
      }
      if (free_since) continue;
      const auto fits = std::ranges::find_if(waiting, [&](const Attempt* one) {
        return active + role_of(*one).units <= run_.capacities[resource];
      });
      if (fits != waiting.end()) free_since = Step{step.at, Step::asked, *fits};
    }
    if (free_since) end_gap(*free_since, run_.end);
    sweep_overtaken(steps);
  }
  void end_gap(const Step& since, Moment until) {
    const Role& role = role_of(*since.attempt);
    const nanoseconds gap = healthy_time(since.at, until, role.replicas > 0);
    found_.longest_gap = std::max(found_.longest_gap, std::chrono::ceil<milliseconds>(gap));
    if (gap <= longest_ttl(role.resource) + patience) return;
    violation(since.at, *since.attempt,
              "nobody acquires it for " +
                  std::to_string(std::chrono::ceil<milliseconds>(gap).count()) + " ms");
  }
  milliseconds longest_ttl(std::size_t resource) const {
    milliseconds longest{0};
    for (const Role& role : run_.roles) {
      if (role.resource <= resource && resource < role.resource + role.resources) {
        longest = std::max(longest, role.ttl + role.max_hold);
      }
    }
    return longest;
  }

  /// For each wait: how many that asked later were served first.
  void sweep_overtaken(const std::vector<Step>& steps) {
    std::vector<const Attempt*> served;
    for (const Step& step : steps) {
      if (step.what == Step::acquired) served.push_back(step.attempt);
    }
    for (const Step& step : steps) {
      const Attempt& one = *step.attempt;
      if (step.what != Step::asked || role_of(one).may_starve) continue;
      const Moment end = one.outcome == Outcome::waiting ? run_.end : one.answered;
      const bool needs_replicas = role_of(one).replicas > 0;
      const nanoseconds time = healthy_time(one.asked, end, needs_replicas);
      found_.longest_wait = std::max(found_.longest_wait, std::chrono::ceil<milliseconds>(time));
      if (time <= longest_ttl(role_of(one).resource) + patience) continue;
      const auto first = std::ranges::lower_bound(
          served, one.asked, {}, [](const Attempt* other) { return other->answered; });
      const auto overtaken = std::count_if(first, served.end(), [&](const Attempt* other) {
        return other->answered < end && other->asked > one.asked;
      });
      if (overtaken <= max_overtaken) continue;
      violation(end, one,
                "forgotten: " + std::to_string(overtaken) + " were served that had asked later");
    }
  }

  /// What the new primary has answered first.
  void measure(const Failover& failover) {
    Moment acquired = Moment::max();
    Moment renewed = Moment::max();
    const Moment from = std::max(failover.began, failover.lossy_until);
    for (const Attempt& one : run_.attempts) {
      if (!was_held(one)) continue;
      for (std::size_t i = 0; i < one.confirmed; ++i) {
        const Confirmation& confirmation = one.confirmations[i];
        const milliseconds ttl = role_of(one).ttl;
        // It was sent before.
        if (confirmation.until - ttl + drift(ttl) < from + reading_error) continue;
        Moment& first = i == 0 ? acquired : renewed;
        first = std::min(first, confirmation.seen);
      }
    }
    const auto note = [&](Moment first, auto& times) {
      if (first == Moment::max()) return;
      times[failover.fault].push_back(std::chrono::ceil<milliseconds>(first - failover.began));
    };
    note(acquired, found_.to_acquisition);
    note(renewed, found_.to_renewal);
  }

  const FailoverRun& run_;
  Moment start_{Moment::max()};
  std::map<std::uint64_t, LeaseFacts> leases_{};
  FailoverFindings found_{};
};

void print_times(std::ostream& out, std::vector<milliseconds> times) {
  if (times.empty()) {
    out << std::setw(20) << "none";
    return;
  }
  std::ranges::sort(times);
  out << std::setw(9) << times[times.size() / 2].count() << std::setw(11) << times.back().count();
}

}  // namespace

std::string_view to_string(Fault fault) noexcept {
  switch (fault) {
    case Fault::kill:
      return "primary killed";
    case Fault::stop:
      return "primary stopped, continued";
    case Fault::failover:
      return "SENTINEL FAILOVER";
    case Fault::name:
      return "name moved";
    case Fault::planned:
      return "CLUSTER FAILOVER";
    case Fault::takeover:
      return "TAKEOVER";
    case Fault::moved:
      return "slot moved";
  }
  return "?";
}

FailoverFindings check(const FailoverRun& run) { return Checker(run).result(); }

std::ostream& operator<<(std::ostream& out, const FailoverFindings& found) {
  out << "                              to acquisition [ms]    to renewal [ms]\n"
         "failover by            number   median    longest   median    longest\n";
  for (const auto& [fault, times] : found.to_acquisition) {
    out << std::left << std::setw(27) << to_string(fault) << std::right << std::setw(2)
        << times.size();
    print_times(out, times);
    const auto renewals = found.to_renewal.find(fault);
    print_times(
        out, renewals == found.to_renewal.end() ? std::vector<milliseconds>() : renewals->second);
    out << '\n';
  }
  out << "durability.replicas: held, not renewed in time, lost by\n";
  for (const auto& [replicas, losses] : found.losses) {
    out << std::setw(19) << replicas << ": " << losses.held << ", " << losses.ran_out;
    for (const auto& [fault, lost] : losses.lost) out << ", " << to_string(fault) << ' ' << lost;
    out << '\n';
  }
  out << "claims: " << found.claims << ", renewals: " << found.renewals
      << ", overlaps of claims whose write may be lost: " << found.excused_overlaps
      << ", longest wait: " << found.longest_wait.count()
      << " ms, longest time free and waited for: " << found.longest_gap.count()
      << " ms\nviolations: " << found.violations.size() << "\nerrors of calls:\n";
  for (const auto& [error, count] : found.errors)
    out << std::setw(7) << count << " x " << error << '\n';
  return out;
}

}  // namespace redlatch::test
