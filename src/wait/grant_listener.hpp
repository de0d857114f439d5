#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>

#include "base/event_fd.hpp"
#include "base/event_source.hpp"
#include "base/settings.hpp"
#include "wait/local_waiter.hpp"
#include "wait/subscription.hpp"

namespace redlatch::detail {

/// Hears what the server has to say to those with an entry in one of its queues. One of those who
/// wait listens, for all of them, so that nobody has to be woken for the one that it is for; where
/// nobody waits, the background does. Everything is called with the waiting room's mutex held,
/// which is released while something is waited for.
class GrantListener {
 public:
  using Guard = std::unique_lock<std::mutex>;

  /// What the client does for it, called without the mutex.
  struct Help {
    /// A grant that nobody here waits for is given back.
    std::function<void(std::string_view key, std::string_view value)> give_back;
    /// Nobody listens, perhaps, so that somebody has to look. This and the next may be called with
    /// the mutex held.
    std::function<void()> look_later;
    std::function<void(EventKind kind, TimePoint since, std::error_code error)> record_event;
  };

  GrantListener(const Settings& settings, Help help)
      : settings_(settings), subscription_(settings), help_(std::move(help)) {}

  /// Connects if need be, unless somebody else is just doing that or it has failed lately.
  Address address(TimePoint latest, const std::stop_token& stop, Guard& guard);
  /// The server's queues are no use to us for a while.
  void refuse() noexcept;

  void add(LocalWaiter& waiter, LeasePtr entry) noexcept;
  /// Before `remove`: reads the messages that have come if that may judge the connection. A pause
  /// of this process must not be taken for the server's silence.
  void read_before_judging(Waiter::Ending how, Guard& guard) noexcept;
  LeasePtr remove(LocalWaiter& waiter, Waiter::Ending how) noexcept;
  void pass_on(LocalWaiter& from, LocalWaiter& to) noexcept;

  bool can_listen() const noexcept { return subscription_.is_open() && !busy_; }
  /// Until there is news for the place, it is woken, or the time is over. False when the system
  /// does not let it.
  bool listen(LocalWaiter& waiter, TimePoint end, Guard& guard);
  /// False when it does not listen, so that it has to be woken in another way.
  bool wake(const LocalWaiter& waiter) noexcept;

  /// What the background has to watch, once nobody who waits has listened for a while.
  EventSource::Source source() const noexcept {
    return can_listen() ? EventSource::Source{subscription_.fd(), heard_at_ + absence}
                        : EventSource::Source{};
  }
  void receive_while_idle(Guard& guard) noexcept;
  /// The server is no primary any more: what it has to say is of no use, unless the connection is
  /// newer than that.
  void drop() noexcept;

  void after_fork_in_child() noexcept;

 private:
  Address no_address() const noexcept;
  std::chrono::nanoseconds pause_after(std::optional<Errc> failure) noexcept;
  std::chrono::nanoseconds pause_after_closing(TimePoint end) noexcept;
  void call_listener(const LocalWaiter* but) noexcept;
  bool hear(const LocalWaiter& waiter, TimePoint end, Guard& guard) noexcept;
  void receive_available(Guard& guard) noexcept;
  bool deliver(const Subscription::Message& message) noexcept;
  void expect(const std::string& value) noexcept;
  bool is_late() const noexcept;
  void lose(std::error_code why) noexcept;
  void note_change_of_all() noexcept;
  static void post(LocalWaiter& waiter) noexcept;

  /// Who has listened comes back for the next lock, mostly.
  static constexpr std::chrono::milliseconds absence{50};

  const Settings& settings_;
  Subscription subscription_;
  const Help help_;
  bool busy_ = false;  // somebody reads the mailbox, or opens it
  const LocalWaiter* listener_ = nullptr;
  bool woken_ = false;
  EventFd event_fd_{};
  std::list<LocalWaiter*> standing_{};  // those with an entry
  /// Values whose grant was learned from an answer; the message is still to come.
  struct ExpectedGrant {
    std::string value;
    TimePoint since;
  };
  std::list<ExpectedGrant> expected_{};
  bool passed_over_ = false;  // an entry was, and nothing was heard since
  TimePoint heard_at_{};
  TimePoint open_since_{};
  TimePoint not_before_{};
  bool is_refused_ = false;  // until then, and not only out of reach
  unsigned closings_ = 0;    // at SUBSCRIBE, in a row
  TimePoint closed_since_{};
};

}  // namespace redlatch::detail
