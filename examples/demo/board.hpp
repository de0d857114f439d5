#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace demo {

/// What the processes of one run write to each other, in memory that all of them share.
struct Board {
  using Nanoseconds = std::int64_t;  // of the steady clock, which is one for all processes

  std::atomic<bool> stop{false};
  std::atomic<bool> failed{false};
  std::atomic<std::uint64_t> updates{0};

  /// When the lock was last given up; written and read by its holder only.
  std::atomic<Nanoseconds> released_at{0};
  /// When the victim took the lock, and when the next one did after it was killed.
  std::atomic<Nanoseconds> victim_holds_since{0};
  std::atomic<Nanoseconds> victim_killed_at{0};
  std::atomic<Nanoseconds> recovered_at{0};

  static constexpr std::size_t most_samples = std::size_t{1} << 20;
  std::atomic<std::size_t> samples{0};
  std::array<std::atomic<std::uint32_t>, most_samples> hand_over_us{};

  void add_hand_over(Nanoseconds time) noexcept;
  /// The hand-over that `share` of them do not exceed, in milliseconds; nothing without samples.
  std::optional<double> hand_over_ms(double share) const;
};

inline Board::Nanoseconds now() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

/// A board in memory that forked children share with their parent.
class SharedBoard {
 public:
  SharedBoard();
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  ~SharedBoard();

  Board& operator*() const noexcept { return *board_; }
  Board* operator->() const noexcept { return board_; }

 private:
  Board* board_;
};

}  // namespace demo
