#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/event_record.hpp>
#include <redlatch/event.hpp>

#include "background/counters.hpp"
#include "background/renewer.hpp"
#include "base/event_fd.hpp"
#include "base/mutex.hpp"

namespace redlatch::detail {

/// The thread that calls the program back: `lost_token()` when a lease is lost or its loss is due,
/// and `on_event`. It waits for no server, so no connection delays the notice of a loss, and no
/// callback delays a renewal; a callback delays the notices and events behind it. A loss is
/// notified before all queued events. The thread starts with the first lease that is kept, or the
/// first event.
///
/// A callback may end the client, and this object with it: `finish` then sets the thread's `gone`
/// flag, and the thread touches nothing of the object any more, not even its mutex. It still
/// delivers the events that are queued by then. A callback may also fork: the flag is set in the
/// child, where the thread ends with its callback.
///
/// `mutex_` guards the queue and the state of the thread, and is released during callbacks. It is
/// taken after the mutex of `Background`, and before that of `Renewer`.
class Notifier {
 public:
  using OnEvent = std::function<void(const Event&)>;
  /// Takes the events of a client that is one of a quorum's, at once, in the thread that records
  /// them, and with mutexes of the client held.
  using Forward = std::function<void(const EventRecord& record)>;

  /// Events that name no server are given the name `server`.
  Notifier(OnEvent on_event, Forward forward, Renewer& renewer, std::string server);
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  /// To be called after `finish`.
  ~Notifier() = default;

  /// Counts an event and queues it for `on_event`. Any thread may call it.
  void record_event(const EventRecord& record) noexcept;
  /// Why the thread cannot be started; empty when it runs.
  std::error_code ensure_started() noexcept;
  /// Delivers the queued events, waits for that, and ends the thread. When a callback calls it, the
  /// thread delivers them after that callback has returned.
  void finish() noexcept;
  /// All but the number of leases that are held, which the renewer counts.
  Metrics metrics() const noexcept { return counters_.snapshot(); }

  // Around fork(2): the child has neither the thread nor its events.
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_);

 private:
  using Events = std::list<Event>;

  /// Maximum delay before a successful event is delivered. Several of them share a wake-up of the
  /// thread; an unsuccessful event is delivered at once.
  static constexpr std::chrono::milliseconds max_delay{50};
  /// Maximum length of the queue: successful events are dropped beyond the first number, all events
  /// beyond the second, so that a callback that hangs costs bounded memory and success never takes
  /// the place of a failure.
  static constexpr std::size_t max_queued_successes = 10'000;
  static constexpr std::size_t max_queued = 20'000;
  /// Maximum length of an event's `detail`, for the same reason: servers and proxies send error
  /// replies of any length.
  static constexpr std::size_t max_detail = 1024;

  /// Minimum time between two `connect_failed` of one server that are delivered, and between two
  /// `attempt_failed`: while the server is away or cannot write, each connection and each waiting
  /// call of the client may try several times a second.
  static constexpr std::chrono::seconds failed_interval{1};

  bool is_counted_only(const EventRecord& record) noexcept REDLATCH_EXCLUDES(mutex_);
  void enqueue(const EventRecord& record) noexcept REDLATCH_REQUIRES(mutex_);
  /// `holder`: the number of the thread of this client that holds the lock; 0: none.
  static std::string detail_of(const EventRecord& record, std::string_view server, int holder);
  std::error_code start() noexcept REDLATCH_REQUIRES(mutex_);
  void run() noexcept REDLATCH_EXCLUDES(mutex_);
  /// Notifies all losses and delivers all events. Returns with the mutex held, unless `gone`, which
  /// the analysis cannot follow.
  void notify(MutexLock& lock, const OnEvent& on_event, const bool& gone) noexcept
      REDLATCH_REQUIRES(mutex_) REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void rest() noexcept REDLATCH_REQUIRES(mutex_);

  // This and `events_` are shared with the thread, which may outlive this object.
  const std::shared_ptr<const OnEvent> on_event_;
  const Forward forward_;
  Renewer& renewer_;
  const std::string server_;
  Counters counters_{};

  EventFd event_fd_{};  // open before the first lease is kept, so that the renewer may signal it

  Mutex mutex_{};
  std::shared_ptr<Events> events_ REDLATCH_GUARDED_BY(mutex_) = std::make_shared<Events>();
  TimePoint deliver_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  TimePoint next_connect_failed_ REDLATCH_GUARDED_BY(mutex_){};
  TimePoint next_attempt_failed_ REDLATCH_GUARDED_BY(mutex_){};
  bool stopping_ REDLATCH_GUARDED_BY(mutex_) = false;
  // The thread's flag, of which the thread has a copy: true from when a callback of the thread has
  // ended this object, or has forked, in the child.
  std::shared_ptr<bool> gone_ REDLATCH_GUARDED_BY(mutex_){};
  std::thread thread_ REDLATCH_GUARDED_BY(mutex_){};
};

}  // namespace redlatch::detail
