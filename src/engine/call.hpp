#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <optional>

#include <redlatch/detail/executor.hpp>

#include "base/io_error.hpp"
#include "base/baton.hpp"
#include "base/event_fd.hpp"

namespace redlatch::detail {

struct Exchange;
using Exchanges = std::list<Exchange>;

/// Wakes a thread that waits for several things at once.
class Bell {
 public:
  Bell() { wake_up_.open(); }
  /// What is looked at behind this, before the thread sleeps, is not missed.
  void listen() noexcept { listens_ = true; }
  void stop_listening() noexcept {
    listens_ = false;
    if (rung_.exchange(false)) wake_up_.clear();
  }
  void ring() noexcept {
    if (listens_ && !rung_.exchange(true)) wake_up_.signal();
  }
  int fd() const noexcept { return wake_up_.fd(); }

 private:
  WakeUp wake_up_{};
  std::atomic<bool> listens_ = false;
  std::atomic<bool> rung_ = false;
};

/// Somebody who waits for the answer to a request. Lives on that thread's stack.
struct Caller {
  enum class State { waits, leads, done };

  const Request& request;
  Response& response;
  Exchanges::iterator exchange{};

  /// Changed under the channel's mutex. What comes below is complete when this is `done`.
  std::atomic<State> state = State::waits;
  /// One post for each change that the thread is to be woken for; it takes all of them before it
  /// goes.
  Turn turn{};
  int posts = 0;
  int posts_taken = 0;
  Caller* next_to_wake = nullptr;
  bool mended = false;   // a leader is saying the request again, so that it cannot be taken away
  Bell* bell = nullptr;  // its thread is elsewhere, so that it cannot lead
  TimePoint end = TimePoint::max();  // of its wait, whoever does the work for it
  TimePoint grace_until{};           // when it had no time left, for once

  std::optional<IoError> failure{};  // else the replies are in the response
  bool in_doubt = false;             // the server may have acted all the same,
  bool broken = false;               // and the connection is lost
  bool outdated = false;             // the connection leads to a server that is no primary
  bool out_of_memory = false;        // which is worth an exception of its own

  void take_posts() noexcept {
    for (; posts_taken < posts; ++posts_taken) turn.wait();
  }
  bool leads() const noexcept { return state == State::leads; }
  bool done() const noexcept { return state == State::done; }
};

/// Releases a mutex for a while.
class Unlocked {
 public:
  explicit Unlocked(std::unique_lock<std::mutex>& guard) : guard_(guard) { guard_.unlock(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;
  ~Unlocked() { guard_.lock(); }

 private:
  std::unique_lock<std::mutex>& guard_;
};

/// The callers that are to be woken once the channel's mutex is free, so that none of them wakes up
/// only to wait for that.
class WakeList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  void clear() noexcept { first_ = nullptr; }

  /// Its answer is there, or never will be.
  void finish(Caller& caller) noexcept;
  /// The same, with the reason why. Null: memory has run out.
  void fail(Caller& caller, const IoError* why) noexcept;
  void appoint(Caller& caller) noexcept;
  /// Releases the mutex, and does not take it again.
  void wake(std::unique_lock<std::mutex>& guard) noexcept;

 private:
  void add(Caller& caller) noexcept;

  Caller* first_ = nullptr;
};

}  // namespace redlatch::detail
