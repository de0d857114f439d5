#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace redlatch::test {

/// What goes wrong in a scenario.
enum class SimFault : std::size_t {
  stall,         // of a connection, in one direction or both; what was sent arrives late
  cut,           // of a connection
  server_stops,  // for a while, with its connections
  server_restarts,
  forgets,  // a restart without data
  scripts_gone,
  server_loads,
  server_is_replica,  // and writes nothing
  server_is_full,
  client_stops,
  client_dies,
  count
};
std::string_view to_string(SimFault fault);

struct ScenarioResult {
  std::vector<std::string> violations{};
  std::uint64_t acquired = 0;
  std::uint64_t attempts = 0;
  std::uint64_t errors = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(SimFault::count)> faults{};
  std::uint64_t fingerprint = 0;  // of all that has happened
};

/// Processes with locks of all classes, and faults, for some simulated seconds, all by the seed.
/// Runs in the calling process, in which no other scenario may have run.
ScenarioResult run_scenario(std::uint64_t seed);

}  // namespace redlatch::test
