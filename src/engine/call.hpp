#pragma once

#include <atomic>
#include <list>
#include <optional>
#include <utility>

#include <redlatch/detail/executor.hpp>

#include "base/baton.hpp"
#include "base/event_fd.hpp"
#include "base/io_error.hpp"

namespace redlatch::detail {

struct PendingRequest;
using PendingRequests = std::list<PendingRequest>;

class PollNotifier;

/// One wait for the reply to a request. Lives on the stack of the thread that waits; see
/// `SharedConnection` for how the threads share the work. Its members are guarded by the shared
/// connection's mutex, but the thread reads `state` without it, and everything once that is `done`.
struct Call {
  /// What the thread does.
  enum class State {
    /// Sleeps until it is woken. Entered at the start, unless the thread finds no leader; left when
    /// the call is appointed or its request is complete.
    following,
    /// Does the I/O. Entered by the thread itself when it finds no leader, or by the leader that
    /// appoints it; left when its request is complete.
    leading,
    /// The request is out of all lists, or abandoned. Entered by the leader that completes it, or
    /// by the thread itself when it gives up. Final.
    done
  };

  const Request& request;
  Response& response;
  PendingRequests::iterator pending{};

  std::atomic<State> state = State::following;
  /// Each change that the thread has to see posts the baton once. The thread consumes every post
  /// before it destroys the call: a post that comes later would touch a dead object.
  Baton baton{};
  int posts = 0;
  int posts_taken = 0;
  Call* next_to_wake = nullptr;           // in a `WakeQueue`
  PollNotifier* poll_notifier = nullptr;  // of a thread that polls several servers and cannot lead
  TimePoint end = TimePoint::max();       // deadline, for whichever thread does the I/O
  TimePoint grace_until{};                // end of the grace period, which a call gets once

  std::optional<IoError> failure{};  // without one, the replies are in the response
  bool in_doubt = false;             // the command may have been carried out, or may be yet
  bool broken = false;               // the connection is lost, or no cleanup could be queued on it
  bool outdated = false;             // the server at this connection is not a primary
  bool out_of_memory = false;        // reported as std::bad_alloc

  void take_posts() noexcept {
    for (; posts_taken < posts; ++posts_taken) baton.wait();
  }
  bool is_leading() const noexcept { return state == State::leading; }
  bool done() const noexcept { return state == State::done; }
};

/// Wakes a thread that polls several connections at once.
class PollNotifier {
 public:
  PollNotifier() { event_fd_.open(); }
  /// From here on `notify` makes `fd` readable. The thread checks its calls after this and before
  /// it polls, so that it misses none.
  void listen() noexcept { listens_ = true; }
  /// `is_readable`: what the poll has found. A `notify` that was under way at the last call may
  /// have made it readable behind that, and would end each poll from then on.
  void stop_listening(bool is_readable) noexcept {
    listens_ = false;
    if (notified_.exchange(false) || is_readable) event_fd_.clear();
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

/// The calls to wake once the shared connection's mutex is released, so that no thread wakes up
/// only to wait for the mutex. Guarded by that mutex, until it is taken out to `wake` the calls.
class WakeQueue {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  /// All calls that are queued, which are not any more.
  WakeQueue take() noexcept { return std::exchange(*this, {}); }

  /// Completes a call, and queues its thread unless that is the leader, which is awake.
  void finish(Call& call) noexcept;
  /// Completes a call with a failure. Null: memory has run out.
  void fail(Call& call, const IoError* why) noexcept;
  /// Makes a call the leader.
  void appoint(Call& call) noexcept;
  /// Has a call that follows compute its deadline anew.
  void add(Call& call) noexcept;
  /// Posts the batons of all calls. To be called without the mutex.
  void wake() noexcept;

 private:
  Call* first_ = nullptr;
};

}  // namespace redlatch::detail
