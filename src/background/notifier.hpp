#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>

#include <redlatch/detail/clock.hpp>
#include <redlatch/event.hpp>

#include "background/counters.hpp"
#include "background/renewer.hpp"
#include "base/event_fd.hpp"
#include "base/mutex.hpp"

namespace redlatch::detail {

/// The thread that calls the program: `lost_token()` when a lease is lost or its notice is due, and
/// `on_event`. It waits for no server, so that no connection delays a loss, and no callback delays
/// a renewal; a callback delays what is told behind it. A loss is told before all events that are
/// queued. The thread starts with the first lease that is kept, or the first event.
///
/// A callback may end the client, and this object with it: from then on the thread's `gone` flag is
/// set and nothing of the object is touched any more, not even its mutex. What the end has to tell
/// comes behind what is being told. A callback may also fork: the flag is set in the child, where
/// the thread ends with its callback.
class Notifier {
 public:
  using OnEvent = std::function<void(const Event&)>;
  /// Called instead of the thread, with mutexes of the client held.
  using Forward = std::function<void(EventKind kind, std::string_view key, TimePoint since,
                                     std::error_code error)>;

  Notifier(OnEvent on_event, Forward forward, Renewer& renewer);
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  /// Behind `finish`.
  ~Notifier() = default;

  /// Counts what has happened, and queues it for the program. Any thread may call it.
  void record_event(EventKind kind, std::string_view key, TimePoint since,
                    std::error_code error) noexcept;
  /// False when the system has no thread or descriptor left.
  bool ensure_started() noexcept;
  /// Tells what is queued and ends the thread. May be called from a callback.
  void finish() noexcept;
  /// All but the number of leases.
  Metrics metrics() const noexcept { return counters_.snapshot(); }

  // Around fork(2): the child has neither the thread nor its events.
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_);

 private:
  using Events = std::list<Event>;

  /// How long good news may wait for more of it.
  static constexpr std::chrono::milliseconds max_delay{50};
  /// Events in the queue of `on_event`: good ones are dropped beyond the first, all beyond the
  /// other.
  static constexpr std::size_t max_queued_good = 10'000;
  static constexpr std::size_t max_queued = 20'000;

  void enqueue(EventKind kind, std::string_view key, TimePoint since,
               std::error_code error) noexcept REDLATCH_REQUIRES(mutex_);
  bool start() noexcept REDLATCH_REQUIRES(mutex_);
  void run() noexcept REDLATCH_EXCLUDES(mutex_);
  /// Returns with the mutex held, unless `gone`. The analysis cannot follow that.
  void notify(MutexLock& lock, const OnEvent& on_event, const bool& gone) noexcept
      REDLATCH_REQUIRES(mutex_) REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void rest() noexcept REDLATCH_REQUIRES(mutex_);

  const std::shared_ptr<const OnEvent> on_event_;  // may outlive this object, as `events_` may
  const Forward forward_;
  Renewer& renewer_;
  Counters counters_{};

  EventFd event_fd_{};  // open before the first lease is kept, so that the renewer may signal it

  Mutex mutex_{};
  std::shared_ptr<Events> events_ REDLATCH_GUARDED_BY(mutex_) = std::make_shared<Events>();
  TimePoint tell_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  bool stopping_ REDLATCH_GUARDED_BY(mutex_) = false;
  // True when this is no business of the thread, which has a copy.
  std::shared_ptr<bool> gone_ REDLATCH_GUARDED_BY(mutex_){};
  std::thread thread_ REDLATCH_GUARDED_BY(mutex_){};
};

}  // namespace redlatch::detail
