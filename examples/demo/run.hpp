#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace demo {

struct Plan {
  int processes = 4;
  int threads = 2;  // in each process
  std::chrono::milliseconds length{0};
  std::chrono::milliseconds ttl{2000};
  std::string url{};  // empty: no lock
  std::string key{};
};

struct Result {
  std::uint64_t updates = 0;  // that workers made
  std::uint64_t balance = 0;  // that the ledger has afterwards
  double seconds = 0;
  bool failed = false;  // a worker could not go on
  std::optional<double> hand_over_p50_ms{};
  std::optional<double> hand_over_p99_ms{};
  std::optional<double> recovery_ms{};  // from the death of a holder to the next one

  std::uint64_t lost() const noexcept { return updates - balance; }
};

/// Has processes with threads update a ledger at `path` and shows progress. With a lock, one more
/// process is killed while it holds it.
Result run(const Plan& plan, const std::string& path);

}  // namespace demo
