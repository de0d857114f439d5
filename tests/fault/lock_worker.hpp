#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "history.hpp"

namespace redlatch::test {

/// A fault of the worker's own, for which the check must not be blind.
enum class Flaw {
  none,
  claims_longer  // for half of a ttl after the lock is lost or its validity is over
};

struct WorkerOptions {
  std::string url{};
  /// Of database 1 of the same server. Empty: roles that need it are left out.
  std::string second_url{};
  /// Of a `Quorum`, in place of `url`, for roles of `Redlock`, of which there are no others then.
  std::vector<std::string> quorum{};
  QuorumOptions client{};  // of which a `Client` has the options of its own
  std::uint16_t number = 0;
  unsigned seed = 0;
  std::chrono::milliseconds round_trip{0};  // to the server and back, at least
  bool rides_out = false;
  Flaw flaw = Flaw::none;
  /// Called every few milliseconds with the address of the name that moves.
  std::function<void(std::size_t)> set_address = [](std::size_t) {};
};

/// Threads of all roles, until it is over.
void work(const WorkerOptions& options, std::span<const Role> roles, History& history);

}  // namespace redlatch::test
