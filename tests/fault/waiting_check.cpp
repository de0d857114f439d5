#include "waiting_check.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// Within ttl + 1 s a waiter acquires, once there is nothing in its way.
constexpr milliseconds patience_of_waiters = 1s;
/// So often may others that have come later be served first, before a waiter counts as forgotten.
constexpr int max_overtaken = 60;

/// The waiters of one resource.
class WaitingCheck {
 public:
  WaitingCheck(const RunView& view, std::size_t resource, Findings& found)
      : view_(view), resource_(resource), found_(found) {
    for (const Incident& one : view.run().incidents) {
      until_served_.emplace_back(one.began, one.served);
      until_healthy_.emplace_back(one.began, one.healthy);
    }
    for (const Attempt* one : view.attempts()) {
      if (!view.uses(*one, resource)) continue;
      const std::optional<Moment> until = view.may_stay(*one);
      if (!until || could_not_acquire(*one)) continue;
      until_served_.emplace_back(*until - one->ttl, *until);
      until_healthy_.emplace_back(*until - one->ttl, *until);
    }
    merge(until_served_);
    merge(until_healthy_);
    for (const Role& role : view.run().roles) {
      if (role.resource > resource || resource >= role.resource + role.resources) continue;
      bound_ = std::max(bound_, role.ttl + role.max_hold + patience_of_waiters);
    }
  }

  void run() {
    const std::vector<Step> steps = all_steps();
    sweep_gaps(steps);
    sweep_overtaken(steps);
  }

 private:
  using Interval = std::pair<Moment, Moment>;
  struct Step {
    Moment at;
    enum { released, given_up, asked, acquired } what;
    const Attempt* attempt;
  };

  const Role& role_of(const Attempt& one) const { return view_.role_of(one); }

  /// Whether it was held by another worker when this one was killed as it waited, and nothing has
  /// kept back what had been sent. The lock must not be granted to the dead.
  bool could_not_acquire(const Attempt& one) const {
    const std::optional<Moment> dead = view_.killed(one);
    if (!dead || one.outcome != Outcome::waiting || one.owner != 0) return false;
    const Moment from = *dead - 2 * lag;
    const Moment to = *dead + 2 * lag;
    const bool may_be_late = std::ranges::any_of(view_.run().incidents, [&](const Incident& other) {
      return delays_requests(other.fault) && other.began <= to && other.served >= from;
    });
    if (may_be_late) return false;
    return std::ranges::any_of(view_.attempts(), [&](const Attempt* other) {
      return RunView::was_held(*other) && other->worker != one.worker &&
             view_.uses(*other, resource_) && other->answered <= from &&
             other->claimed_until >= to &&
             role_of(*other).units + role_of(one).units > view_.run().capacities[resource_];
    });
  }
  static bool delays_requests(Fault fault) {
    switch (fault) {
      case Fault::requests_late:
      case Fault::replies_held:
      case Fault::server_stopped:
      case Fault::server_asleep:
      case Fault::server_busy:
      case Fault::server_paused:
      case Fault::machine_busy:
        return true;
      default:
        return is_replacement(fault);
    }
  }

  static void merge(std::vector<Interval>& intervals) {
    std::ranges::sort(intervals);
    std::vector<Interval> merged;
    for (const Interval& one : intervals) {
      if (!merged.empty() && one.first <= merged.back().second) {
        merged.back().second = std::max(merged.back().second, one.second);
      } else {
        merged.push_back(one);
      }
    }
    intervals = std::move(merged);
  }
  /// The time from `from` to `to` in which no incident is under way, and no lease in the way that
  /// is not held any more.
  nanoseconds healthy_time(Moment from, Moment to, bool needs_replicas) const {
    nanoseconds time = to - from;
    for (const auto& [began, ended] : needs_replicas ? until_healthy_ : until_served_) {
      time -= std::max(nanoseconds(0), nanoseconds(std::min(to, ended) - std::max(from, began)));
    }
    return time;
  }

  /// A waiter may lose its place in the queue by an incident.
  Moment undisturbed_since(const Attempt& one, Moment end) const {
    const auto& disturbed = one.replicas > 0 ? until_healthy_ : until_served_;
    const auto next = std::ranges::lower_bound(disturbed, end, {}, &Interval::first);
    return next == disturbed.begin() ? one.asked : std::max(one.asked, std::prev(next)->second);
  }

  Moment end_of(const Attempt& open) const { return view_.killed(open).value_or(view_.run().end); }
  std::vector<Step> all_steps() const {
    std::vector<Step> steps;
    for (const Attempt* one : view_.attempts()) {
      if (view_.uses(*one, resource_)) add_steps(*one, steps);
    }
    std::ranges::stable_sort(steps, {}, [](const Step& step) { return step.at; });
    return steps;
  }
  void add_steps(const Attempt& one, std::vector<Step>& steps) const {
    const bool is_dead = view_.killed(one).has_value();
    if (one.waits) steps.push_back({one.asked, Step::asked, &one});
    if (one.waits && (one.outcome == Outcome::missed || one.outcome == Outcome::failed)) {
      steps.push_back({one.answered, Step::given_up, &one});
    }
    if (one.waits && one.outcome == Outcome::waiting && is_dead) {
      steps.push_back({end_of(one), Step::given_up, &one});
    }
    if (!RunView::was_held(one)) return;
    steps.push_back({one.answered, Step::acquired, &one});
    if (one.end != End::still_held) {
      steps.push_back({std::max(one.over, one.answered), Step::released, &one});
    } else if (is_dead) {
      steps.push_back({std::max(end_of(one), one.answered), Step::released, &one});
    }
  }

  /// For how long the resource is free although there are attempts to get it. Those that fail
  /// meanwhile are made again by the workers. What needs other resources as well does not count.
  void sweep_gaps(const std::vector<Step>& steps) {
    std::vector<const Attempt*> waiting;
    int active = 0;
    std::optional<Step> free_since;
    for (const Step& step : steps) {
      const int units = role_of(*step.attempt).units;
      if (step.what == Step::asked && role_of(*step.attempt).resources == 1) {
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
      if (waiting.empty()) continue;
      // A writer that waits keeps out readers that come later.
      const Attempt& largest = **std::ranges::max_element(
          waiting, {}, [&](const Attempt* one) { return role_of(*one).units; });
      const bool fits = active + role_of(largest).units <= view_.run().capacities[resource_];
      if (fits) free_since = Step{step.at, Step::asked, &largest};
    }
    if (free_since) end_gap(*free_since, view_.run().end);
  }
  void end_gap(const Step& since, Moment until) {
    const nanoseconds gap = healthy_time(since.at, until, since.attempt->replicas > 0);
    const auto time = std::chrono::ceil<milliseconds>(gap);
    found_.longest_gap = std::max(found_.longest_gap, time);
    if (gap <= bound_) return;
    violation(since.at, *since.attempt,
              "nobody acquires it for " + std::to_string(time.count()) + " ms", until);
  }

  /// For each wait: how many that asked later were served first. Clients that cannot queue up take
  /// what they find free.
  void sweep_overtaken(const std::vector<Step>& steps) {
    std::vector<const Attempt*> served;
    for (const Step& step : steps) {
      if (step.what == Step::acquired) served.push_back(step.attempt);
    }
    for (const Step& step : steps) {
      const Attempt& one = *step.attempt;
      if (step.what != Step::asked || one.may_starve) continue;
      const Moment end = one.outcome == Outcome::waiting ? end_of(one) : one.answered;
      const nanoseconds time = healthy_time(one.asked, end, one.replicas > 0);
      found_.longest_wait = std::max(found_.longest_wait, std::chrono::ceil<milliseconds>(time));
      const Moment since = undisturbed_since(one, end);
      if (end - since <= bound_) continue;
      const auto first = std::ranges::lower_bound(
          served, since, {}, [](const Attempt* other) { return other->answered; });
      const auto overtaken = std::count_if(first, served.end(), [&](const Attempt* other) {
        return other->answered < end && other->asked > since && !other->may_starve;
      });
      if (overtaken <= max_overtaken) continue;
      violation(end, one,
                "forgotten: " + std::to_string(overtaken) + " were served that had asked later",
                end);
    }
  }

  void violation(Moment at, const Attempt& one, const std::string& what, Moment until) {
    found_.violations.push_back({.promise = Promise::waiters,
                                 .text = view_.at_moment(at, one) + what,
                                 .resource = resource_,
                                 .from = one.asked,
                                 .to = until});
  }

  const RunView& view_;
  std::size_t resource_;
  Findings& found_;
  std::vector<Interval> until_served_{};
  std::vector<Interval> until_healthy_{};
  milliseconds bound_{0};
};

}  // namespace

void check_waiters(const RunView& view, Findings& found) {
  for (std::size_t i = 0; i < view.run().capacities.size(); ++i) WaitingCheck(view, i, found).run();
}

}  // namespace redlatch::test
