#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include <redlatch/detail/lease.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// One extension of a lease, by the background thread.
struct PendingRenewal {
  Lease* lease = nullptr;
  protocol::OwnedCommand command{};
  std::chrono::milliseconds ttl{};
  TimePoint since{};             // when the lock was acquired
  std::uint64_t connection = 0;  // the number of the connection that it was sent on
  bool asks = false;             // sent to the node of a cluster to which the key is being moved

  std::string_view key() const { return command.text(0); }

  /// Begins a new renewal in the memory of an old one.
  void begin(Lease& renewed) {
    command = renewed.extension();
    ttl = renewed.schedule().ttl;
    since = renewed.schedule().since;
    connection = 0;
    asks = renewed.asks();
    lease = &renewed;
  }
};

}  // namespace redlatch::detail
