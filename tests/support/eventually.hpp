#pragma once

#include <algorithm>
#include <chrono>
#include <thread>

namespace redlatch::test {

/// Waits until `condition` holds; false when `bound` is over first. Looks every millisecond, and
/// less often behind longer waits, as many tests share two cores.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds bound = std::chrono::seconds(10)) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds shortest{1};
  constexpr std::chrono::milliseconds longest{5};
  const Clock::time_point begin = Clock::now();
  while (!condition()) {
    const Clock::time_point now = Clock::now();
    if (now >= begin + bound) return false;
    std::this_thread::sleep_for(std::clamp<Clock::duration>((now - begin) / 20, shortest, longest));
  }
  return true;
}

}  // namespace redlatch::test
