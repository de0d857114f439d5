#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <redlatch/event.hpp>

namespace redlatch::detail {

/// The numbers behind `Metrics`: how often each kind of event has happened. Any thread may count.
class Counters {
 public:
  void count(EventKind kind) noexcept {
    counts_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  }
  /// Counts a single attempt that has found its lock held, which is contended as well.
  void count_missed() noexcept { missed_.fetch_add(1, std::memory_order_relaxed); }
  /// Counts an event that is not delivered to `on_event`, as the queue is full.
  void count_dropped() noexcept { dropped_.fetch_add(1, std::memory_order_relaxed); }
  /// All but the numbers of the present: leases held and threads waiting.
  Metrics snapshot() const noexcept {
    const auto of = [this](EventKind kind) {
      return counts_[static_cast<std::size_t>(kind)].load(std::memory_order_relaxed);
    };
    return {.acquired = of(EventKind::acquired),
            .contended = of(EventKind::contended),
            .missed = missed_.load(std::memory_order_relaxed),
            .renewed = of(EventKind::renewed),
            .renewal_failed = of(EventKind::renewal_failed),
            .lost = of(EventKind::lost),
            .released = of(EventKind::released),
            .release_unknown = of(EventKind::release_unknown),
            .connected = of(EventKind::connected),
            .disconnected = of(EventKind::disconnected),
            .connect_failed = of(EventKind::connect_failed),
            .attempt_failed = of(EventKind::attempt_failed),
            .events_dropped = dropped_.load(std::memory_order_relaxed)};
  }

 private:
  static constexpr std::size_t kinds = static_cast<std::size_t>(EventKind::attempt_failed) + 1;

  std::array<std::atomic<std::uint64_t>, kinds> counts_{};
  std::atomic<std::uint64_t> missed_ = 0;
  std::atomic<std::uint64_t> dropped_ = 0;
};

}  // namespace redlatch::detail
