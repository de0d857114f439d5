#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "failover_history.hpp"

namespace redlatch::test {

/// What has happened, to be judged.
struct FailoverRun {
  std::span<const Role> roles;
  std::span<const int> capacities;  // of the resources
  int replicas;                     // how many a primary has
  std::span<const Attempt> attempts;
  std::span<const Failover> failovers;
  Moment end;
};

/// What was found in a run.
struct FailoverFindings {
  /// Broken promises, each with the moment at which it was, in seconds since the first attempt.
  std::vector<std::string> violations{};

  std::map<std::string, std::size_t> held{};  // by the names of roles
  std::size_t claims = 0;
  std::size_t renewals = 0;
  std::size_t excused_overlaps = 0;
  /// By `Role::replicas`. Lost: the new primary did not have it, as the write may have been lost.
  struct Losses {
    std::size_t held = 0;
    std::map<Fault, std::size_t> lost{};
    std::size_t ran_out = 0;
  };
  std::map<int, Losses> losses{};
  std::map<std::string, std::size_t> errors{};  // by their texts
  std::chrono::milliseconds longest_wait{0};    // outages do not count
  std::chrono::milliseconds longest_gap{0};     // in which a resource was free, and waited for
  /// From the beginning of a failover to the first acquisition, and to the first renewal, at the
  /// new primary.
  std::map<Fault, std::vector<std::chrono::milliseconds>> to_acquisition{};
  std::map<Fault, std::vector<std::chrono::milliseconds>> to_renewal{};
};

/// Decides by the times alone: claims that overlap while no write was lost, claims beyond their
/// validity, a validity that is longer than its ttl allows, fencing tokens that do not rise, locks
/// that were lost while no write was, and waiters that were forgotten.
FailoverFindings check(const FailoverRun& run);

std::string_view to_string(Fault fault) noexcept;
std::ostream& operator<<(std::ostream& out, const FailoverFindings& findings);

}  // namespace redlatch::test
