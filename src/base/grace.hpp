#pragma once

#include <algorithm>
#include <chrono>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// The grace period for an answer whose time was found to be over for `late`: at least 10 ms, since
/// a thread needs a moment to read it, and at most 100 ms. The process may have been stopped, and
/// the answer be there, or come at once.
constexpr TimePoint::duration grace_for(TimePoint::duration late) noexcept {
  return std::clamp<TimePoint::duration>(late, std::chrono::milliseconds(10),
                                         std::chrono::milliseconds(100));
}

}  // namespace redlatch::detail
