#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace redlatch::test {

/// Waits until `condition` holds; false when `bound` is over first. Looks every millisecond, and
/// less often behind longer waits, as many tests share two cores.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds bound = std::chrono::seconds(10)) {
  using Duration = std::chrono::steady_clock::duration;
  constexpr std::chrono::milliseconds shortest{1};
  constexpr std::chrono::milliseconds longest{5};
  const auto begin = std::chrono::steady_clock::now();
  while (!condition()) {
    const Duration waited = std::chrono::steady_clock::now() - begin;
    if (waited >= bound) return false;
    std::this_thread::sleep_for(std::clamp<Duration>(waited / 20, shortest, longest));
  }
  return true;
}

/// Waits until so much time is over, for what comes of time alone: a time-out, or an answer's age.
inline bool passes(std::chrono::milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  return eventually([&] { return std::chrono::steady_clock::now() >= end; },
                    time + std::chrono::seconds(10));
}

}  // namespace redlatch::test
