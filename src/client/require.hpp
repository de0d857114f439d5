#pragma once

#include <chrono>
#include <string>

#include <redlatch/error.hpp>

namespace redlatch::detail {

/// Throws `Errc::invalid_argument` unless `good`; `what` says which value would do.
inline void require(bool good, const std::string& what) {
  if (!good) throw Error(Errc::invalid_argument, what);
}

/// From 1 ms to 24 h.
inline bool is_time_out(std::chrono::milliseconds time) noexcept {
  return time > std::chrono::milliseconds::zero() && time <= std::chrono::hours(24);
}

}  // namespace redlatch::detail
