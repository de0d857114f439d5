#pragma once

#include <chrono>
#include <thread>

namespace redlatch::test {

/// Waits until `condition` holds, looking every millisecond; false when `bound` is over first.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds bound = std::chrono::seconds(10)) {
  const auto end = std::chrono::steady_clock::now() + bound;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace redlatch::test
