#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include <redlatch/redlatch.hpp>

#include "failover_history.hpp"

namespace redlatch::test {

/// A fault of the worker's own, for which the check must not be blind.
enum class Flaw {
  none,
  claims_longer  // for half of a ttl after the lock is lost or its validity is over
};

struct WorkerOptions {
  std::string url;
  ClientOptions client{};
  std::uint16_t number = 0;
  unsigned seed = 0;
  bool rides_out = false;
  Flaw flaw = Flaw::none;
  /// Called every few milliseconds with the address of the name that moves.
  std::function<void(std::size_t)> set_address = [](std::size_t) {};
};

/// Threads of all roles, until it is over.
void work(const WorkerOptions& options, std::span<const Role> roles, History& history);

/// The key of a resource; those of all resources are in one slot of a cluster.
std::string key_of(std::size_t resource);

}  // namespace redlatch::test
