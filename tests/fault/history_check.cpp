#include "history_check.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>

#include "waiting_check.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// Of the ttl, for clocks that run at different speeds: the library must not count it.
constexpr nanoseconds drift(milliseconds ttl) { return nanoseconds(ttl) / 100 + 2ms; }
/// Behind the end of a ttl, a server may take so long to notice.
constexpr milliseconds expiry = 1s;

/// When the command was sent that the validity counts from, or earlier: a doubt makes it shorter.
Moment sent(const Confirmation& one) { return one.until - one.ttl + drift(one.ttl); }

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
  /// As the holder that saw it first has seen it.
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
  explicit Checker(const Run& run) : run_(run), view_(run) {}

  Findings result() {
    collect_leases();
    for (const Attempt* one : view_.attempts()) look_at(*one);
    for (std::size_t i = 0; i < run_.capacities.size(); ++i) {
      sweep_claims(i);
      sweep_tokens(i);
    }
    check_waiters(view_, found_);
    for (const Leftover& one : run_.leftovers) look_at(one);
    for (const Incident& one : run_.incidents) {
      if (one.fault != Fault::machine_busy) measure(one);
    }
    return std::move(found_);
  }

 private:
  using Claims = std::vector<const Attempt*>;

  const Role& role_of(const Attempt& one) const { return view_.role_of(one); }
  static bool was_held(const Attempt& one) { return RunView::was_held(one); }
  static bool is_claim(const Attempt& one) {
    return was_held(one) && one.claimed_until >= one.answered;
  }

  void violation(Promise promise, Moment at, const Attempt& one, const std::string& what) {
    found_.violations.push_back({.promise = promise,
                                 .text = view_.at_moment(at, one) + what,
                                 .resource = role_of(one).resource,
                                 .from = one.asked,
                                 .to = at});
  }

  void collect_leases() {
    for (const Attempt* one : view_.attempts()) {
      if (!was_held(*one)) continue;
      for (const Confirmation& confirmation : one->all_confirmations()) {
        leases_[one->lease].add(confirmation);
      }
    }
  }

  /// What one attempt shows by itself.
  void look_at(const Attempt& one) {
    if (one.outcome == Outcome::failed) ++found_.errors[one.error.data()];
    if (!was_held(one)) return;
    ++found_.claims;
    ++found_.held[role_of(one).name];
    Findings::Losses& losses = found_.losses[one.replicas];
    ++losses.held;
    found_.renewals += one.confirmed > 0 ? one.confirmed - 1 : 0;
    check_validity(one);
    if (one.end == End::ran_out) ++losses.ran_out;
    if (one.end != End::lost && one.end != End::lost_unseen) return;
    if (const Incident* const excuse = excuse_of(one, one.over); excuse != nullptr) {
      ++losses.lost[excuse->fault];
      ++found_.excuses[excuse->fault];
    } else {
      violation(Promise::keeping, one.over, one, "lost though no write was lost");
      if (const auto basis = basis_at(one, one.over)) found_.violations.back().from = basis->after;
    }
  }
  void check_validity(const Attempt& one) {
    Moment until{};  // by what was last confirmed before the last claim, and behind it
    for (const Confirmation& confirmation : one.all_confirmations()) {
      until = confirmation.seen <= one.claimed_until ? confirmation.until
                                                     : std::max(until, confirmation.until);
      const milliseconds ttl = confirmation.ttl;
      const nanoseconds longest = ttl - drift(ttl) - one.round_trip + reading_error;
      if (confirmation.until - confirmation.seen > longest) {
        violation(Promise::validity, confirmation.seen, one,
                  "a validity that is longer than its ttl allows");
      }
    }
    if (is_claim(one) && one.claimed_until > until) {
      violation(Promise::validity, one.claimed_until, one, "claimed after the end of its validity");
    }
  }

  /// The incident in which what the claim relies on at that moment may have been lost; null: it was
  /// not.
  const Incident* excuse_of(const Attempt& one, Moment at) const {
    const std::optional<Confirmation> basis = basis_at(one, at);
    if (!basis) return nullptr;
    const LeaseFacts& lease = leases_.at(one.lease);
    const Confirmation& written = lease.first(*basis);
    const bool is_renewed = at >= lease.acquired_until();
    const auto excuse = std::ranges::find_if(run_.incidents, [&](const Incident& incident) {
      const Loss loss = kind_of(incident.fault).loss;
      const bool is_recent = written.seen >= incident.began - lag;
      // A server may forget what it has granted before the answer has come. The late answer of a
      // former primary is not believed.
      const Moment after =
          loss == Loss::everything ? std::min(written.after, sent(written)) : written.after;
      return incident.began <= at && after <= incident.lossy_until + lag &&
             concerns(incident, one) && may_lose(loss, is_recent, is_renewed ? 0 : one.replicas);
    });
    return excuse == run_.incidents.end() ? nullptr : &*excuse;
  }
  bool concerns(const Incident& incident, const Attempt& one) const {
    return incident.resource == Incident::all_resources || view_.uses(one, incident.resource);
  }
  /// Renewals wait for no replica. Where the old primary goes on for a while with the replicas that
  /// are not promoted, fewer than all of them may not have the one that is.
  bool may_lose(Loss loss, bool is_recent, int replicas) const {
    switch (loss) {
      case Loss::none:
        return false;
      case Loss::recent_at_no_replica:
        return is_recent && replicas == 0;
      case Loss::recent_at_some_replicas:
        return is_recent && (replicas == 0 || replicas < run_.replicas);
      case Loss::everything:
        return true;
    }
    return false;
  }
  static std::optional<Confirmation> basis_at(const Attempt& one, Moment at) {
    std::optional<Confirmation> basis;
    for (const Confirmation& confirmation : one.all_confirmations()) {
      if (!basis || confirmation.seen <= at) basis = confirmation;
    }
    return basis;
  }

  /// Claims of a resource that is full: each beginning of a claim is looked at.
  void sweep_claims(std::size_t resource) {
    Claims claims;
    for (const Attempt* one : view_.attempts()) {
      if (is_claim(*one) && view_.uses(*one, resource)) claims.push_back(one);
    }
    std::ranges::sort(claims, {}, [](const Attempt* one) { return one->answered; });
    Claims active;
    for (const Attempt* one : claims) {
      std::erase_if(active,
                    [&](const Attempt* other) { return other->claimed_until < one->answered; });
      active.push_back(one);
      judge(active, run_.capacities[resource], *one);
    }
  }
  /// The holds of one owner are one.
  int units_of(const Claims& claims) const {
    int units = 0;
    std::set<std::uint64_t> owners;
    for (const Attempt* one : claims) {
      if (one->owner == 0 || owners.insert(one->owner).second) units += role_of(*one).units;
    }
    return units;
  }
  void judge(const Claims& active, int capacity, const Attempt& latest) {
    if (units_of(active) <= capacity) return;
    Claims certain;
    const Incident* excuse = nullptr;
    for (const Attempt* one : active) {
      const Incident* const its = excuse_of(*one, latest.answered);
      if (its == nullptr) certain.push_back(one);
      if (excuse == nullptr) excuse = its;
    }
    if (units_of(certain) <= capacity && excuse != nullptr) {
      ++found_.excused_overlaps;
      ++found_.excuses[excuse->fault];
      return;
    }
    std::string text = "overlaps";
    Moment from = latest.asked;
    for (const Attempt* one : active) {
      if (one == &latest) continue;
      text += ' ' + view_.describe(*one);
      from = std::min(from, one->asked);
    }
    violation(Promise::exclusion, latest.answered, latest, text);
    found_.violations.back().from = from;
  }

  /// A token is larger than all that were answered before it was asked for.
  void sweep_tokens(std::size_t resource) {
    Claims by_asked;
    for (const Attempt* one : view_.attempts()) {
      if (was_held(*one) && one->fence != 0 && view_.uses(*one, resource)) by_asked.push_back(one);
    }
    Claims by_answered = by_asked;
    std::ranges::sort(by_asked, {}, [](const Attempt* one) { return one->asked; });
    std::ranges::sort(by_answered, {}, [](const Attempt* one) { return one->answered; });
    const Attempt* largest = nullptr;
    auto next = by_answered.begin();
    for (const Attempt* one : by_asked) {
      for (; next != by_answered.end() && (*next)->answered < one->asked; ++next) {
        if (largest == nullptr || (*next)->fence > largest->fence) largest = *next;
      }
      if (largest == nullptr || one->fence > largest->fence) continue;
      violation(Promise::fencing, one->answered, *one, "its fencing token does not rise");
      found_.violations.back().from = largest->asked;
    }
  }

  /// A key is gone when its holder has released it, unless the release was not answered or is lost.
  void look_at(const Leftover& leftover) {
    const bool expires = leftover.ttl >= 0ms;
    const auto attempts = view_.attempts();
    const auto cause = std::ranges::find_if(attempts, [&](const Attempt* one) {
      return view_.uses(*one, leftover.resource) && may_leave(*one, leftover.seen);
    });
    if (expires && (cause != attempts.end() || may_be_queue(leftover))) return;
    const Moment seen = leftover.seen;
    found_.violations.push_back(
        {.promise = Promise::nothing_left,
         .text = std::to_string(view_.seconds(seen)) + " s: " + leftover.key + " is left " +
                 (expires ? "for " + std::to_string(leftover.ttl.count()) + " ms" : "for ever"),
         .resource = leftover.resource,
         .from = seen - 10s,
         .to = seen});
  }
  /// On a busy machine, a client may end before all that it took back is answered.
  bool was_busy_at_end() const {
    return std::ranges::any_of(run_.incidents, [&](const Incident& incident) {
      return incident.fault == Fault::machine_busy && incident.served >= run_.end;
    });
  }
  /// A queue lasts for a minute behind its last entry.
  bool may_be_queue(const Leftover& leftover) const {
    return was_busy_at_end() && leftover.key.find(":redlatch:queue") != std::string::npos;
  }
  bool may_leave(const Attempt& one, Moment seen) const {
    const bool is_clean = was_held(one) ? one.end == End::released
                                        : one.outcome == Outcome::missed && !was_busy_at_end();
    const Moment without_answer =
        is_clean || is_taken_back(one) ? Moment() : RunView::ended(one) + one.ttl;
    return std::max(view_.may_stay(one).value_or(Moment()), without_answer) + expiry > seen;
  }
  /// A release without an answer is repeated, until the server can be reached again.
  bool is_taken_back(const Attempt& one) const {
    if (view_.killed(one) || was_busy_at_end()) return false;
    Moment reachable = RunView::ended(one);
    for (const Incident& incident : run_.incidents) {
      reachable = std::max(reachable, incident.served);
    }
    return reachable + RunView::doubt < run_.end;
  }

  /// What is answered first behind an incident.
  void measure(const Incident& incident) {
    Moment acquired = Moment::max();
    Moment renewed = Moment::max();
    const Moment from = std::max(incident.began, incident.lossy_until);
    for (const Attempt* one : view_.attempts()) {
      if (!was_held(*one)) continue;
      for (std::size_t i = 0; i < one->confirmed; ++i) {
        const Confirmation& confirmation = one->confirmations[i];
        if (sent(confirmation) < from + reading_error) continue;
        Moment& first = i == 0 ? acquired : renewed;
        first = std::min(first, confirmation.seen);
      }
    }
    const auto note = [&](Moment first, auto& times) {
      if (first == Moment::max()) return;
      times[incident.fault].push_back(std::chrono::ceil<milliseconds>(first - incident.began));
    };
    note(acquired, found_.to_acquisition);
    note(renewed, found_.to_renewal);
  }

  const Run& run_;
  const RunView view_;
  std::map<std::uint64_t, LeaseFacts> leases_{};
  Findings found_{};
};

}  // namespace

Findings check(const Run& run) { return Checker(run).result(); }

}  // namespace redlatch::test
