#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <optional>

#include <redlatch/detail/executor.hpp>

#include "base/baton.hpp"
#include "base/event_fd.hpp"
#include "base/io_error.hpp"

namespace redlatch::detail {

struct PendingRequest;
using PendingRequests = std::list<PendingRequest>;

/// Wakes a thread that waits for several things at once.
class PollNotifier {
 public:
  PollNotifier() { event_fd_.open(); }
  /// What is looked at behind this, before the thread sleeps, is not missed.
  void listen() noexcept { listens_ = true; }
  void stop_listening() noexcept {
    listens_ = false;
    if (notified_.exchange(false)) event_fd_.clear();
  }
  void notify() noexcept {
    if (listens_ && !notified_.exchange(true)) event_fd_.signal();
  }
  int fd() const noexcept { return event_fd_.fd(); }

 private:
  EventFd event_fd_{};
  std::atomic<bool> listens_ = false;
  std::atomic<bool> notified_ = false;
};

/// Somebody who waits for the answer to a request. Lives on that thread's stack.
struct Call {
  enum class State { following, leading, done };

  const Request& request;
  Response& response;
  PendingRequests::iterator pending{};

  /// Changed under the channel's mutex. What comes below is complete when this is `done`.
  std::atomic<State> state = State::following;
  /// One post for each change that the thread is to be woken for; it takes all of them before it
  /// goes.
  Baton baton{};
  int posts = 0;
  int posts_taken = 0;
  Call* next_to_wake = nullptr;
  bool retrying = false;  // a leader is saying the request again, so that it cannot be taken away
  PollNotifier* poll_notifier = nullptr;  // its thread is elsewhere, so that it cannot lead
  TimePoint end = TimePoint::max();       // of its wait, whoever does the work for it
  TimePoint grace_until{};                // when it had no time left, for once

  std::optional<IoError> failure{};  // else the replies are in the response
  bool in_doubt = false;             // the server may have acted all the same,
  bool broken = false;               // and the connection is lost
  bool outdated = false;             // the connection leads to a server that is no primary
  bool out_of_memory = false;        // which is worth an exception of its own

  void take_posts() noexcept {
    for (; posts_taken < posts; ++posts_taken) baton.wait();
  }
  bool is_leading() const noexcept { return state == State::leading; }
  bool done() const noexcept { return state == State::done; }
};

/// The callers that are to be woken once the channel's mutex is free, so that none of them wakes up
/// only to wait for that.
class WakeQueue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  void clear() noexcept { first_ = nullptr; }

  /// Its answer is there, or never will be.
  void finish(Call& call) noexcept;
  /// The same, with the reason why. Null: memory has run out.
  void fail(Call& call, const IoError* why) noexcept;
  void appoint(Call& call) noexcept;
  /// Releases the mutex, and does not take it again.
  void wake(std::unique_lock<std::mutex>& guard) noexcept;

 private:
  void add(Call& call) noexcept;

  Call* first_ = nullptr;
};

}  // namespace redlatch::detail
