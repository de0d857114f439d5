#include "base/baton.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>

namespace redlatch::detail {

bool Baton::wait_until(TimePoint end) noexcept {
  for (;;) {
    // CLOCK_MONOTONIC stops while the machine sleeps, and `end` does not: each wait is at most an
    // hour, and what is left is then measured anew.
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const auto left = std::clamp<std::chrono::nanoseconds>(
        end - BootClock::now(), std::chrono::nanoseconds::zero(), std::chrono::hours(1));
    const auto until = now + left;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(until);
    const timespec time{.tv_sec = seconds.count(), .tv_nsec = (until - seconds).count()};
    if (::sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &time) == 0) {
      see_posts();
      return true;
    }
    // A signal neither ends the wait nor prolongs it.
    if (errno != EINTR && BootClock::now() >= end) return false;
  }
}

void Baton::wait() noexcept {
  while (::sem_wait(&semaphore_) != 0) {
  }
  see_posts();
}

}  // namespace redlatch::detail
