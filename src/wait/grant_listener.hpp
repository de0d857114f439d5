#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/event_record.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/error.hpp>

#include "base/event_fd.hpp"
#include "base/event_source.hpp"
#include "base/io_error.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "wait/local_waiter.hpp"
#include "wait/subscription.hpp"
#include "wait/wait_mutex.hpp"

namespace redlatch::detail {

/// Receives one server's messages to the waiters with an entry in one of its queues, all on one
/// subscription. One of these waiters, the listener, polls the subscription for all of them, so a
/// grant for the listener itself wakes no second thread; without waiters the background thread
/// reads it. Every member is called with the mutex of the `WaitQueues` held, which is released
/// during polls, connects and `give_back`.
class GrantListener {
 public:
  /// What the client does for the listener.
  struct Help {
    /// Releases a lock that was granted to a waiter that has left. Called without the mutex.
    std::function<void(std::string_view key, std::string_view value)> give_back;
    /// Has the background thread read the subscription, as no waiter may be listening. This and
    /// `record_event` are called with the mutex held or without.
    std::function<void()> look_later;
    std::function<void(const EventRecord& record)> record_event;
    /// Whether a grant is for a waiter at another node, whose key was here before. Called with the
    /// mutex held.
    std::function<bool(const Subscription::Message& message)> is_for_another;
  };

  /// `settings`: of the node; they outlive the listener, as `help` does.
  GrantListener(const Settings& settings, const Help& help, Mutex& mutex)
      : settings_(settings), help_(help), mutex_(mutex), subscription_(settings) {}

  /// The address for the server's messages. Connects and subscribes if need be, unless another
  /// thread is doing that or the delay after a failure is not over.
  GrantAddress address(std::string_view key, TimePoint latest, const std::stop_token& stop)
      REDLATCH_REQUIRES(wait_mutex);
  /// The server has refused its queue: no address is given out for the delay after a refusal.
  void refuse() noexcept REDLATCH_REQUIRES(wait_mutex);

  /// The waiter has an entry from now on, and is notified of messages about it.
  void add(LocalWaiter& waiter, LeasePtr entry) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// To be called before `remove`, which closes a subscription on which messages are missing: reads
  /// the messages that have come. After a pause of this process they are there, but unread.
  void read_before_judging(Waiter::Ending how) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// The waiter has no entry any more; returns the lease of the entry.
  LeasePtr remove(LocalWaiter& waiter, Waiter::Ending how) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// The key of the waiter was moved to the node of `to`.
  void move(LocalWaiter& waiter, GrantListener& to) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// Notifies the waiters that a message is for which came from another node. False when it is for
  /// none.
  bool accept(const Subscription::Message& message) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// The next waiter inherits the entry, with the news that have come about it.
  void pass_on(LocalWaiter& from, LocalWaiter& to) noexcept REDLATCH_REQUIRES(wait_mutex);

  bool can_listen() const noexcept REDLATCH_REQUIRES(wait_mutex) {
    return subscription_.is_open() && !busy_;
  }
  /// Polls until there is news for the waiter, the waiter is woken, or `end`. False when the system
  /// cannot poll.
  bool listen(LocalWaiter& waiter, TimePoint end) REDLATCH_REQUIRES(wait_mutex);
  /// Wakes the waiter out of `listen`. False when it is not the listener, so that its baton is to
  /// be posted.
  bool wake(const LocalWaiter& waiter) noexcept REDLATCH_REQUIRES(wait_mutex);

  /// The socket that the background thread is to poll, and from when; nothing while a waiter
  /// listens or nothing is subscribed.
  void add_source(std::vector<EventSource::Source>& sources) const REDLATCH_REQUIRES(wait_mutex) {
    if (can_listen()) sources.push_back({subscription_.fd(), read_at_ + absence});
  }
  /// Reads the messages that have come, unless a waiter listens.
  void receive_while_idle() noexcept REDLATCH_REQUIRES(wait_mutex);
  /// The server is no primary any more: closes the subscription, whose messages are of no use. Not
  /// one that is younger than 50 ms, as that was made after the change.
  void drop() noexcept REDLATCH_REQUIRES(wait_mutex);

  void after_fork_in_child() noexcept REDLATCH_REQUIRES(wait_mutex);

 private:
  /// Tells the program why there is no connection, if memory allows.
  void record_failure(const Failure& why, TimePoint::duration elapsed) const noexcept
      REDLATCH_REQUIRES(wait_mutex);
  GrantAddress open_address(std::string_view key) REDLATCH_REQUIRES(wait_mutex);
  GrantAddress no_address() const noexcept REDLATCH_REQUIRES(wait_mutex);
  bool is_moved() const noexcept REDLATCH_REQUIRES(wait_mutex);
  std::chrono::nanoseconds delay_after(const std::optional<IoError>& failure) noexcept
      REDLATCH_REQUIRES(wait_mutex);
  std::chrono::nanoseconds delay_after_closing(TimePoint end) noexcept
      REDLATCH_REQUIRES(wait_mutex);
  void appoint_listener(const LocalWaiter* but) noexcept REDLATCH_REQUIRES(wait_mutex);
  bool poll_for(const LocalWaiter& waiter, TimePoint end) noexcept REDLATCH_REQUIRES(wait_mutex);
  void receive_available() noexcept REDLATCH_REQUIRES(wait_mutex);
  bool deliver(const Subscription::Message& message) noexcept REDLATCH_REQUIRES(wait_mutex);
  void note_news(LocalWaiter& waiter, Subscription::Message::Kind kind) const noexcept
      REDLATCH_REQUIRES(wait_mutex);
  void expect(const std::string& value) noexcept REDLATCH_REQUIRES(wait_mutex);
  void note_left(const std::string& value) noexcept REDLATCH_REQUIRES(wait_mutex);
  void wake_listener_for_news() noexcept REDLATCH_REQUIRES(wait_mutex);
  bool is_late() const noexcept REDLATCH_REQUIRES(wait_mutex);
  void lose(const Failure& why) noexcept REDLATCH_REQUIRES(wait_mutex);
  void note_change_of_all() noexcept REDLATCH_REQUIRES(wait_mutex);
  bool forget_expected(const std::string& value) noexcept REDLATCH_REQUIRES(wait_mutex);
  static void post(LocalWaiter& waiter) noexcept REDLATCH_REQUIRES(wait_mutex);

  /// Delay before the background thread polls the subscription after a waiter has listened. A
  /// thread that contends for a lock mostly waits for it again at once, and then listens itself.
  static constexpr std::chrono::milliseconds absence{50};

  Mutex& mutex() const noexcept REDLATCH_RETURN_CAPABILITY(wait_mutex) { return mutex_; }

  /// A grant that the waiter has learned from a reply, whose message is still to come. The message
  /// is for none of the waiters then, and must not be given back.
  struct ExpectedGrant {
    std::string value;
    TimePoint since;
  };

  const Settings& settings_;
  const Help& help_;
  Mutex& mutex_;  // that of the `WaitQueues`
  Subscription subscription_ REDLATCH_GUARDED_BY(wait_mutex);
  const LocalWaiter* listener_ REDLATCH_GUARDED_BY(wait_mutex) = nullptr;  // null: no waiter polls
  std::list<LocalWaiter*> entered_ REDLATCH_GUARDED_BY(wait_mutex){};  // the waiters with an entry
  std::list<ExpectedGrant> expected_ REDLATCH_GUARDED_BY(wait_mutex){};
  // Of waiters whose key was moved to another node: perhaps they were granted it here before that.
  std::list<ExpectedGrant> left_ REDLATCH_GUARDED_BY(wait_mutex){};
  TimePoint read_at_ REDLATCH_GUARDED_BY(wait_mutex){};
  TimePoint open_since_ REDLATCH_GUARDED_BY(wait_mutex){};
  TimePoint not_before_ REDLATCH_GUARDED_BY(wait_mutex){};  // the next attempt to connect
  EventFd event_fd_{};  // ends the poll of the listener, or an attempt to connect
  TimePoint closed_since_ REDLATCH_GUARDED_BY(wait_mutex){};  // the first of `closings_`
  unsigned closings_ REDLATCH_GUARDED_BY(wait_mutex) = 0;     // in a row, at SUBSCRIBE
  // A thread polls the subscription or connects it, with the mutex released: until it is back, no
  // other thread may do either.
  bool busy_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  bool is_woken_ REDLATCH_GUARDED_BY(wait_mutex) = false;  // the listener is
  // The server has passed an entry over, and no message has come since. A second such entry shows
  // that the subscription is dead.
  bool passed_over_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  // The server has refused to subscribe, and was not only out of reach.
  bool is_refused_ REDLATCH_GUARDED_BY(wait_mutex) = false;
};

}  // namespace redlatch::detail
