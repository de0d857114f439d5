#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace redlatch::test {

/// A lock that was held: from when its acquisition had returned until `owns_lock` was last true.
struct Claim {
  /// Who may hold a key at the same time: exclusive locks nobody, shared ones other shared ones,
  /// permits others up to their limit, recursive ones those of the same owner.
  enum class Kind { exclusive, shared, permit, recursive };

  Kind kind = Kind::exclusive;
  std::string name{};  // the class, for texts
  std::vector<std::string> keys{};
  int process = 0;
  std::size_t thread = 0;
  std::chrono::nanoseconds ttl{};
  std::chrono::nanoseconds granted{};  // by the server, at the earliest
  std::chrono::nanoseconds from{};
  std::chrono::nanoseconds until{};
  std::int64_t limit = 0;   // of a permit
  std::uint64_t fence = 0;  // 0: none
};

/// What is wrong with the claims, each in a sentence. `forgot`: when the server has lost data:
/// locks that were held then may be held twice, and fencing tokens start anew.
std::vector<std::string> violations_in(const std::vector<Claim>& claims,
                                       const std::vector<std::chrono::nanoseconds>& forgot);

std::string written(const Claim& claim);

}  // namespace redlatch::test
