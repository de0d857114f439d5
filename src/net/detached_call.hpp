#pragma once

#include <poll.h>

#include <array>
#include <atomic>
#include <cassert>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <redlatch/detail/clock.hpp>

#include "base/event_fd.hpp"
#include "base/io_error.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {

/// Runs the work on a thread of its own, which is not joined. Throws `std::system_error` when there
/// is no thread left.
void run_detached(std::function<void()> work);

/// One call of a function that knows no deadline, on a thread of its own, for any number of threads
/// that wait for the result, each until a deadline of its own. The thread exists as long as the
/// call, which may outlive the client, so the function has to own what it uses.
///
/// getaddrinfo(3) and a program's own function can hang for as long as they like: a client that
/// called them on its background thread would lose every lock that is due for renewal meanwhile.
///
/// No mutex: the thread writes the result and then `is_finished_`; after that all threads only read
/// the result.
template <class Result>
class DetachedCall {
 public:
  /// Begins the call. Throws `std::system_error` when there is no thread or descriptor left.
  static std::shared_ptr<DetachedCall> start(std::function<Result()> function) {
    auto call = std::make_shared<DetachedCall>(std::move(function));
    run_detached([call] { call->run(); });
    return call;
  }

  explicit DetachedCall(std::function<Result()> function) : function_(std::move(function)) {
    finished_.open();
  }

  /// `finished_` is never cleared, so any number of threads may poll it, in any order.
  /// False when the call has not finished by `until`. Throws `Cancelled` when `cancel` gets
  /// readable; -1: never.
  bool wait(TimePoint until, int cancel) const {
    std::array<pollfd, 2> watched{{{.fd = finished_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = cancel, .events = POLLIN, .revents = 0}}};
    if (!is_finished_) poll_until(watched, until);
    if (watched[1].revents != 0) throw Cancelled();
    return is_finished_;
  }

  /// Readable once the call has finished.
  int fd() const noexcept { return finished_.fd(); }
  TimePoint begun() const noexcept { return begun_; }
  bool is_finished() const noexcept { return is_finished_; }
  /// What a finished call has returned. Throws what it has thrown.
  const Result& result() const {
    assert(is_finished_);
    if (failure_) std::rethrow_exception(failure_);
    return *result_;
  }

  /// In a forked child, which does not have the thread.
  void abandon() noexcept { finished_.close(); }

 private:
  void run() noexcept {
    try {
      result_.emplace(function_());
    } catch (...) {
      failure_ = std::current_exception();
    }
    function_ = nullptr;  // it may own what owns this call
    is_finished_ = true;
    finished_.signal();  // stays readable, for all that wait
  }

  std::function<Result()> function_;  // used by the thread alone
  const TimePoint begun_ = BootClock::now();
  EventFd finished_{};
  std::atomic<bool> is_finished_ = false;
  std::optional<Result> result_{};
  std::exception_ptr failure_{};
};

}  // namespace redlatch::detail
