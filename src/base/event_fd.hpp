#pragma once

namespace redlatch::detail {

/// A descriptor that another thread can make readable, to end a poll.
class WakeUp {
 public:
  WakeUp() = default;
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;
  ~WakeUp() { close(); }

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
