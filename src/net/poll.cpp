#include "net/poll.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <new>
#include <system_error>

#include "base/io_error.hpp"

namespace redlatch::detail {
namespace {

/// Where something is due, no wait is longer: the kernel's timers stand still while the machine is
/// suspended, and on some processors, such as arm64, Linux has no poll(2), and glibc's is ppoll(2).
constexpr std::chrono::milliseconds max_poll = std::chrono::seconds(1);
constexpr std::chrono::milliseconds max_idle_poll = std::chrono::hours(24);

}  // namespace

int poll_until(std::span<pollfd> descriptors, TimePoint deadline) {
  // Whole milliseconds by poll(2): if the process is stopped and goes on, the kernel begins the
  // rest of a ppoll(2) anew, and counts what poll(2) waits for from its call. The rest by ppoll(2):
  // a wait by poll(2) would end early, and become a loop without a pause, or late.
  const auto longest = deadline == TimePoint::max() ? max_idle_poll : max_poll;
  for (;;) {
    const auto left = std::max(deadline - BootClock::now(), TimePoint::duration::zero());
    const auto whole =
        std::min(std::chrono::floor<std::chrono::milliseconds>(left), longest).count();
    const timespec part{.tv_sec = 0, .tv_nsec = left.count()};
    const int count = whole > 0
                          ? ::poll(descriptors.data(), descriptors.size(), static_cast<int>(whole))
                          : ::ppoll(descriptors.data(), descriptors.size(), &part, nullptr);
    if (count > 0 || (count == 0 && whole == 0)) return count;
    if (count == 0 || errno == EINTR) continue;
    if (errno == ENOMEM) throw std::bad_alloc();
    throw IoError(Errc::unreachable,
                  "cannot wait for the socket: " + std::generic_category().message(errno));
  }
}

}  // namespace redlatch::detail
