#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sim_servers.hpp"

namespace redlatch::test {

struct ScenarioResult {
  std::vector<std::string> violations{};
  std::uint64_t acquired = 0;
  std::uint64_t attempts = 0;
  std::uint64_t errors = 0;
  std::uint64_t lost = 0;  // by failovers, and held by another meanwhile
  std::array<std::uint64_t, static_cast<std::size_t>(SimFault::count)> faults{};
  std::uint64_t fingerprint = 0;  // of all that has happened
};

/// Processes with locks of all classes, and faults, for some simulated seconds, all by the seed.
/// Runs in the calling process, in which no other scenario may have run.
ScenarioResult run_scenario(std::uint64_t seed);

}  // namespace redlatch::test
