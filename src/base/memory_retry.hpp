#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace redlatch::detail {

/// Calls functions again and again until they return true, and lets a moment pass in between:
/// memory runs out in one thread while others are about to give theirs back. For releases alone:
/// without its release, a lock is held until its ttl is over.
class MemoryRetry {
 public:
  /// Calls the function once at least. False when there was no memory for 100 ms, counted for all
  /// functions together.
  template <class Function>
  bool operator()(Function function) noexcept {
    for (;; --pauses_left_) {
      try {
        if (function()) return true;
      } catch (const std::bad_alloc&) {
        // It had no effect.
      }
      if (pauses_left_ == 0) return false;
      std::this_thread::sleep_for(pause);
    }
  }

 private:
  static constexpr std::chrono::milliseconds pause{1};

  int pauses_left_ = 100;
};

}  // namespace redlatch::detail
