#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include <redlatch/detail/lease.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// One extension of a lease that the background has asked for.
struct PendingRenewal {
  Lease* lease = nullptr;
  protocol::OwnedCommand command{};
  std::chrono::milliseconds ttl{};
  TimePoint since{};             // when the lock was acquired
  std::uint64_t connection = 0;  // that it was said on

  std::string_view key() const { return command.text(0); }

  /// Keeps the memory of the one before.
  void begin(Lease& whose) {
    command = whose.extension();
    ttl = whose.schedule().ttl;
    since = whose.schedule().since;
    connection = 0;
    lease = &whose;
  }
};

}  // namespace redlatch::detail
