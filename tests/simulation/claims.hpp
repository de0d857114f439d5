#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
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
  std::string token{};
  int process = 0;
  std::size_t thread = 0;
  std::chrono::nanoseconds ttl{};
  std::chrono::nanoseconds granted{};  // by the server, at the earliest
  std::chrono::nanoseconds from{};
  std::chrono::nanoseconds until{};
  std::int64_t limit = 0;   // of a permit
  std::uint64_t fence = 0;  // 0: none
  /// From when until when the client counts on what a failover has lost: then another may hold the
  /// lock, too.
  std::vector<std::pair<std::chrono::nanoseconds, std::chrono::nanoseconds>> lost{};
};

/// What claims come to.
struct Findings {
  std::vector<std::string> violations{};  // each in a sentence
  std::uint64_t lost = 0;  // claims beside others, since a failover has lost one of the two
};
/// `forgot`: when the server has lost data: locks that were held then may be held twice, and
/// fencing tokens start anew.
Findings findings_in(const std::vector<Claim>& claims,
                     const std::vector<std::chrono::nanoseconds>& forgot);

std::string written(const Claim& claim);

}  // namespace redlatch::test
