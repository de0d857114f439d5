#pragma once

namespace redlatch::detail {

/// An eventfd(2), which one thread makes readable to end the poll of another. `open` and `close`
/// must not run at the time of another member.
class EventFd {
 public:
  EventFd() = default;
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  ~EventFd() { close(); }

  /// Throws `std::system_error` when there is no descriptor left.
  void open();
  /// Makes it readable until `clear`; several signals are as one. Does nothing before `open`.
  void signal() const noexcept;
  /// To be called by the thread that polls, before it looks at what it was woken for: a signal that
  /// comes later than that ends its next poll.
  void clear() const noexcept;
  void close() noexcept;
  int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
};

}  // namespace redlatch::detail
