#pragma once

namespace redlatch::detail {

/// A descriptor that another thread can make readable, to end a poll.
class EventFd {
 public:
  EventFd() = default;
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  ~EventFd() { close(); }

  /// Throws `std::system_error` when there is no descriptor left.
  void open();
  void signal() const noexcept;
  void clear() const noexcept;
  void close() noexcept;
  int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

}  // namespace redlatch::detail
