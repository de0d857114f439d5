#pragma once

#include <chrono>
#include <new>
#include <thread>

namespace redlatch::detail {

/// Calls the function again and again until it returns true, and lets a moment pass in between:
/// memory runs out in one thread while others are about to give theirs back. False when there was
/// none for 100 ms. For releases alone: without its release, a lock is held until its ttl is over.
template <class Function>
bool retry_without_memory(Function function) noexcept {
  constexpr std::chrono::milliseconds pause{1};
  constexpr int max_tries = 100;
  for (int tries = 0; tries < max_tries; ++tries) {
    try {
      if (function()) return true;
    } catch (const std::bad_alloc&) {
      // It had no effect.
    }
    std::this_thread::sleep_for(pause);
  }
  return false;
}

}  // namespace redlatch::detail
