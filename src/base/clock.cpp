#include <ctime>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

BootClock::time_point BootClock::now() noexcept {
  // A lease goes on ending at the server while this machine is suspended, and CLOCK_MONOTONIC
  // stands still then: by it, a lock would be held for hours after its lease was over.
  timespec time{};
  // Where a sandbox refuses it, the clock that stands still in suspend has to do.
  if (::clock_gettime(CLOCK_BOOTTIME, &time) != 0) ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

}  // namespace redlatch::detail
