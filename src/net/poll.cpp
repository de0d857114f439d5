#include "net/poll.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <system_error>

#include "base/io_error.hpp"

namespace redlatch::detail {

int poll_until(std::span<pollfd> descriptors, TimePoint deadline) {
  // ppoll(2), as poll(2) counts in milliseconds: a wait for less would end early, and become a loop
  // without a pause, or late. What is left is measured anew after each signal.
  for (;;) {
    const auto left = std::max(deadline - BootClock::now(), TimePoint::duration::zero());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    const timespec time{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
    const int count = ::ppoll(descriptors.data(), descriptors.size(), &time, nullptr);
    if (count >= 0) return count;
    if (errno == ENOMEM) throw std::bad_alloc();
    if (errno != EINTR) {
      throw IoError(Errc::unreachable,
                    "cannot wait for the socket: " + std::generic_category().message(errno));
    }
  }
}

}  // namespace redlatch::detail
