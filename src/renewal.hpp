#pragma once

#include <chrono>

#include <redlatch/detail/tenure.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// One extension of a lease that the background has asked for.
struct Renewal {
  Tenure* tenure = nullptr;
  protocol::OwnedCommand command{};
  std::chrono::milliseconds ttl{};

  /// Keeps the memory of the one before.
  void begin(Tenure& whose) {
    command = whose.extension();
    ttl = whose.upkeep().ttl;
    tenure = &whose;
  }
};

}  // namespace redlatch::detail
