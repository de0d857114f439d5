#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "incident.hpp"
#include "run.hpp"

namespace redlatch::test {

/// What is promised.
enum class Promise { exclusion, validity, fencing, keeping, waiters, nothing_left, own_keys };
inline constexpr std::array promises{Promise::exclusion, Promise::validity, Promise::fencing,
                                     Promise::keeping,   Promise::waiters,  Promise::nothing_left,
                                     Promise::own_keys};
std::string_view to_string(Promise promise) noexcept;

/// A broken promise.
struct Violation {
  Promise promise;
  std::string text;  // with the moment at which it was, in seconds since the first attempt
  // What there is to look at:
  std::size_t resource{};
  Moment from{};
  Moment to{};
};

/// What was found in a run.
struct Findings {
  std::vector<Violation> violations{};

  std::map<std::string, std::size_t> held{};  // by the names of roles
  std::size_t claims = 0;
  std::size_t renewals = 0;
  std::size_t excused_overlaps = 0;
  std::map<Fault, std::size_t> excuses{};  // overlaps and losses, by what excuses them
  /// By `durability.replicas`. Lost: the server did not have it, as the write may have been lost.
  struct Losses {
    std::size_t held = 0;
    std::map<Fault, std::size_t> lost{};
    std::size_t ran_out = 0;
  };
  std::map<int, Losses> losses{};
  std::map<std::string, std::size_t> errors{};  // by their texts
  std::chrono::milliseconds longest_wait{0};    // outages do not count
  std::chrono::milliseconds longest_gap{0};     // in which a resource was free, and waited for
  /// From the beginning of an incident to the first acquisition, and to the first renewal, behind
  /// it.
  std::map<Fault, std::vector<std::chrono::milliseconds>> to_acquisition{};
  std::map<Fault, std::vector<std::chrono::milliseconds>> to_renewal{};
};

/// Decides by the times alone: claims that overlap while no write was lost, claims beyond their
/// validity, a validity that is longer than its ttl allows, fencing tokens that do not rise, locks
/// that were lost while no write was, waiters that were forgotten, and keys that are left.
Findings check(const Run& run);

/// The table of a campaign of failovers.
std::ostream& operator<<(std::ostream& out, const Findings& findings);

}  // namespace redlatch::test
