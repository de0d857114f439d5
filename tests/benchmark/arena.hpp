#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "histogram.hpp"

namespace redlatch::benchmark {

/// Of CLOCK_MONOTONIC, which all processes of a machine have in common.
using Clock = std::chrono::steady_clock;

enum class Phase { gathering, running, measured, over };

/// What one contender tells of the measured time.
struct alignas(64) Seat {
  std::atomic<Clock::rep> waits_since{0};  // 0 while it does not wait
  std::uint64_t acquisitions = 0;
  Clock::duration longest_wait{0};
  Histogram hand_overs{};
};

/// Who held the lock last, and since when no more.
struct Parting {
  std::size_t holder = 0;
  bool awaited = false;  // another contender was waiting at that moment
  Clock::time_point at{};
};

/// What the contenders for a lock and the process that watches them share, across processes: it has
/// no pointers and takes no memory of its own.
class Arena {
 public:
  static constexpr std::size_t most_contenders = 32;

  std::atomic<Phase> phase{Phase::gathering};
  std::atomic<int> ready{0};
  alignas(64) std::atomic<int> waiting{0};
  std::array<Seat, most_contenders> seats{};

  /// The lock is held now by `contender`: who had it before.
  Parting enter(std::size_t contender) noexcept;
  /// The lock is about to be released.
  void leave(std::size_t contender) noexcept;

  /// Something that must not happen; what is said first is kept.
  void fail(const std::string& what) noexcept;
  /// Throws std::runtime_error with what was said.
  void check() const;

 private:
  static_assert(std::atomic<Phase>::is_always_lock_free &&
                std::atomic<Clock::rep>::is_always_lock_free &&
                std::atomic<std::size_t>::is_always_lock_free);
  static constexpr std::size_t nobody = most_contenders;

  alignas(64) std::atomic<std::size_t> holder_{nobody};
  Parting last_{};  // the holder's
  std::atomic<bool> failing_{false};
  std::atomic<bool> failed_{false};
  std::array<char, 256> failure_{};
};

}  // namespace redlatch::benchmark
