#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "history.hpp"
#include "incident.hpp"

namespace redlatch::test {

/// Between what a server does and what a worker has noted of it, on a machine that is busy.
inline constexpr std::chrono::milliseconds lag{100};

/// A key that was at a server when all clients were gone.
struct Leftover {
  std::string key;
  std::size_t resource;  // that it belongs to
  Moment seen;
  std::chrono::milliseconds ttl;  // that is left; negative: it does not expire
};

/// What has happened, to be judged.
struct Run {
  std::span<const Role> roles;
  std::span<const int> capacities;  // of the resources
  int replicas;                     // how many a primary has
  std::span<const Attempt> attempts;
  std::span<const Incident> incidents;
  std::span<const Leftover> leftovers{};
  Moment end;
};

/// Questions about a run, which has to outlive it.
class RunView {
 public:
  /// For so long, a release without an answer is repeated once the server can be reached.
  static constexpr std::chrono::seconds doubt{2};

  explicit RunView(const Run& run);

  const Run& run() const noexcept { return run_; }
  /// Without those of which a worker that was killed has noted nothing yet.
  std::span<const Attempt* const> attempts() const noexcept { return attempts_; }
  const Role& role_of(const Attempt& one) const { return run_.roles[one.role]; }
  bool uses(const Attempt& one, std::size_t resource) const;
  static bool was_held(const Attempt& one) noexcept { return one.outcome == Outcome::held; }
  /// When the worker had its last answer, or claimed it for the last time.
  static Moment ended(const Attempt& one) noexcept { return std::max(one.answered, one.over); }
  /// By when its worker was killed.
  std::optional<Moment> killed(const Attempt& one) const;

  /// Until when a server may have what an attempt had, although it is not held any more: its worker
  /// was killed, or its release was lost in a failover.
  std::optional<Moment> may_stay(const Attempt& one) const;

  /// Since the first attempt.
  double seconds(Moment at) const;
  std::string describe(const Attempt& one) const;
  /// What the text of a violation begins with.
  std::string at_moment(Moment at, const Attempt& one) const;
  /// What concerns a resource between two moments, in lines; the last ones, if there are many.
  std::string window(std::size_t resource, Moment from, Moment to) const;

 private:
  Moment end_of(const Attempt& one) const;

  const Run& run_;
  std::vector<const Attempt*> attempts_{};
  Moment start_{Moment::max()};
};

}  // namespace redlatch::test
