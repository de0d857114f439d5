#include "base/event_fd.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace redlatch::detail {

void EventFd::open() {
  if (fd_ >= 0) return;
  fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "redlatch: eventfd");
}

void EventFd::signal() const noexcept {
  if (fd_ >= 0) static_cast<void>(::eventfd_write(fd_, 1));
}

void EventFd::clear() const noexcept {
  eventfd_t count = 0;
  if (fd_ >= 0) static_cast<void>(::eventfd_read(fd_, &count));
}

void EventFd::close() noexcept {
  if (const int fd = std::exchange(fd_, -1); fd >= 0) ::close(fd);
}

}  // namespace redlatch::detail
