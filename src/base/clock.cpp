#include <ctime>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

BootClock::time_point BootClock::now() noexcept {
  timespec time{};
  // Where a sandbox refuses it, the clock that stands still in suspend has to do.
  if (::clock_gettime(CLOCK_BOOTTIME, &time) != 0) ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

}  // namespace redlatch::detail
