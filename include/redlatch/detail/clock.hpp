#pragma once

#include <chrono>

namespace redlatch::detail {

/// Linux's CLOCK_BOOTTIME: untouched by changes of the wall clock, and it goes on while the machine
/// is suspended, as the server's clock does. (std::chrono::steady_clock stands still then, and a
/// lease measured on it would outlive its key.)
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept;
};

using TimePoint = BootClock::time_point;

}  // namespace redlatch::detail
