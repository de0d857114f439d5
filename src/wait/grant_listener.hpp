#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/event.hpp>

#include "base/event_fd.hpp"
#include "base/event_source.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "wait/local_waiter.hpp"
#include "wait/subscription.hpp"
#include "wait/wait_mutex.hpp"

namespace redlatch::detail {

/// Hears what the server has to say to those with an entry in one of its queues. One of those who
/// wait listens, for all of them, so that nobody has to be woken for the one that it is for; where
/// nobody waits, the background does. Everything is called with the waiting room's mutex held,
/// which is released while something is waited for.
class GrantListener {
 public:
  /// What the client does for it, called without the mutex.
  struct Help {
    /// A grant that nobody here waits for is given back.
    std::function<void(std::string_view key, std::string_view value)> give_back;
    /// Nobody listens, perhaps, so that somebody has to look. This and the next may be called with
    /// the mutex held.
    std::function<void()> look_later;
    std::function<void(EventKind kind, TimePoint since, std::error_code error)> record_event;
  };

  GrantListener(const Settings& settings, Help help, Mutex& mutex)
      : settings_(settings), help_(std::move(help)), mutex_(mutex), subscription_(settings) {}

  /// Connects if need be, unless somebody else is just doing that or it has failed lately.
  Address address(TimePoint latest, const std::stop_token& stop) REDLATCH_REQUIRES(wait_mutex);
  /// The server's queues are no use to us for a while.
  void refuse() noexcept REDLATCH_REQUIRES(wait_mutex);

  void add(LocalWaiter& waiter, LeasePtr entry) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// Before `remove`: reads the messages that have come if that may judge the connection. A pause
  /// of this process must not be taken for the server's silence.
  void read_before_judging(Waiter::Ending how) noexcept REDLATCH_REQUIRES(wait_mutex);
  LeasePtr remove(LocalWaiter& waiter, Waiter::Ending how) noexcept REDLATCH_REQUIRES(wait_mutex);
  void pass_on(LocalWaiter& from, LocalWaiter& to) noexcept REDLATCH_REQUIRES(wait_mutex);

  bool can_listen() const noexcept REDLATCH_REQUIRES(wait_mutex) {
    return subscription_.is_open() && !busy_;
  }
  /// Until there is news for the place, it is woken, or the time is over. False when the system
  /// does not let it.
  bool listen(LocalWaiter& waiter, TimePoint end) REDLATCH_REQUIRES(wait_mutex);
  /// False when it does not listen, so that it has to be woken in another way.
  bool wake(const LocalWaiter& waiter) noexcept REDLATCH_REQUIRES(wait_mutex);

  /// What the background has to watch, once nobody who waits has listened for a while.
  EventSource::Source source() const noexcept REDLATCH_REQUIRES(wait_mutex) {
    return can_listen() ? EventSource::Source{subscription_.fd(), heard_at_ + absence}
                        : EventSource::Source{};
  }
  void receive_while_idle() noexcept REDLATCH_REQUIRES(wait_mutex);
  /// The server is no primary any more: what it has to say is of no use, unless the connection is
  /// newer than that.
  void drop() noexcept REDLATCH_REQUIRES(wait_mutex);

  void after_fork_in_child() noexcept REDLATCH_REQUIRES(wait_mutex);

 private:
  void call_listener(const LocalWaiter* but) noexcept REDLATCH_REQUIRES(wait_mutex);
  bool hear(const LocalWaiter& waiter, TimePoint end) noexcept REDLATCH_REQUIRES(wait_mutex);
  void receive_available() noexcept REDLATCH_REQUIRES(wait_mutex);
  bool deliver(const Subscription::Message& message) noexcept REDLATCH_REQUIRES(wait_mutex);
  void expect(const std::string& value) noexcept REDLATCH_REQUIRES(wait_mutex);
  bool is_late() const noexcept REDLATCH_REQUIRES(wait_mutex);
  void lose(std::error_code why) noexcept REDLATCH_REQUIRES(wait_mutex);
  void note_change_of_all() noexcept REDLATCH_REQUIRES(wait_mutex);
  static void post(LocalWaiter& waiter) noexcept REDLATCH_REQUIRES(wait_mutex);

  /// Who has listened comes back for the next lock, mostly.
  static constexpr std::chrono::milliseconds absence{50};

  Mutex& mutex() const noexcept REDLATCH_RETURN_CAPABILITY(wait_mutex) { return mutex_; }

  const Settings& settings_;
  const Help help_;
  Mutex& mutex_;  // that of the `WaitQueues`, which guards all that follows
  EventFd event_fd_{};
  Subscription subscription_ REDLATCH_GUARDED_BY(wait_mutex);
  bool busy_ REDLATCH_GUARDED_BY(wait_mutex) = false;  // somebody reads the mailbox, or opens it
  const LocalWaiter* listener_ REDLATCH_GUARDED_BY(wait_mutex) = nullptr;
  bool woken_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  std::list<LocalWaiter*> standing_ REDLATCH_GUARDED_BY(wait_mutex){};  // those with an entry
  /// Values whose grant was learned from an answer; the message is still to come.
  struct ExpectedGrant {
    std::string value;
    TimePoint since;
  };
  std::list<ExpectedGrant> expected_ REDLATCH_GUARDED_BY(wait_mutex){};
  // An entry was, and nothing was heard since.
  bool passed_over_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  TimePoint heard_at_ REDLATCH_GUARDED_BY(wait_mutex){};
  TimePoint open_since_ REDLATCH_GUARDED_BY(wait_mutex){};
  TimePoint not_before_ REDLATCH_GUARDED_BY(wait_mutex){};
  // Until then, and not only out of reach.
  bool is_refused_ REDLATCH_GUARDED_BY(wait_mutex) = false;
};

}  // namespace redlatch::detail
