#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/queue_place.hpp>
#include <redlatch/event.hpp>

#include "background/background.hpp"
#include "wait/subscription.hpp"
#include "base/settings.hpp"
#include "wait/local_waiter.hpp"
#include "base/event_fd.hpp"

namespace redlatch::detail {

/// Hears what the server has to say to those with an entry in one of its queues. One of those who
/// wait listens, for all of them, so that nobody has to be woken for the one that it is for; where
/// nobody waits, the background does. Everything is called with the waiting room's mutex held,
/// which is released while something is waited for.
class Listening {
 public:
  using Guard = std::unique_lock<std::mutex>;

  /// What the client does for it, called without the mutex.
  struct Help {
    /// A grant that nobody here waits for is given back.
    std::function<void(std::string_view key, std::string_view value)> give_back;
    /// Nobody listens, perhaps, so that somebody has to look. This and the next may be called with
    /// the mutex held.
    std::function<void()> look_later;
    std::function<void(EventKind kind, TimePoint since, std::error_code error)> happened;
  };

  Listening(const Settings& settings, Help help)
      : settings_(settings), mailbox_(settings), help_(std::move(help)) {}

  /// Connects if need be, unless somebody else is just doing that or it has failed lately.
  Address address(TimePoint latest, const std::stop_token& stop, Guard& guard);
  /// The server's queues are no use to us for a while.
  void refuse() noexcept;

  void add(WaitingPlace& place, TenureOf entry) noexcept;
  /// Before `remove`: reads the messages that have come if that may judge the connection. A pause
  /// of this process must not be taken for the server's silence.
  void read_before_judging(QueuePlace::Ending how, Guard& guard) noexcept;
  TenureOf remove(WaitingPlace& place, QueuePlace::Ending how) noexcept;
  void pass_on(WaitingPlace& from, WaitingPlace& to) noexcept;

  bool can_listen() const noexcept { return mailbox_.is_open() && !busy_; }
  /// Until there is news for the place, it is woken, or the time is over. False when the system
  /// does not let it.
  bool listen(WaitingPlace& place, TimePoint end, Guard& guard);
  /// False when it does not listen, so that it has to be woken in another way.
  bool wake(const WaitingPlace& place) noexcept;

  /// What the background has to watch, once nobody who waits has listened for a while.
  Watched::Source source() const noexcept {
    return can_listen() ? Watched::Source{mailbox_.fd(), heard_at_ + absence} : Watched::Source{};
  }
  void take_in_idle(Guard& guard) noexcept;
  /// The server is no primary any more: what it has to say is of no use, unless the connection is
  /// newer than that.
  void drop() noexcept;

  void after_fork_in_child() noexcept;

 private:
  void call_listener(const WaitingPlace* but) noexcept;
  bool hear(const WaitingPlace& place, TimePoint end, Guard& guard) noexcept;
  void take_in(Guard& guard) noexcept;
  bool deliver(const Mailbox::Message& message) noexcept;
  void expect(const std::string& value) noexcept;
  bool is_late() const noexcept;
  void lose(std::error_code why) noexcept;
  void note_change_of_all() noexcept;
  static void post(WaitingPlace& place) noexcept;

  /// Who has listened comes back for the next lock, mostly.
  static constexpr std::chrono::milliseconds absence{50};

  const Settings& settings_;
  Mailbox mailbox_;
  const Help help_;
  bool busy_ = false;  // somebody reads the mailbox, or opens it
  const WaitingPlace* listener_ = nullptr;
  bool woken_ = false;
  WakeUp wake_up_{};
  std::list<WaitingPlace*> standing_{};  // those with an entry
  /// Values whose grant was learned from an answer; the message is still to come.
  struct Told {
    std::string value;
    TimePoint since;
  };
  std::list<Told> told_{};
  bool passed_over_ = false;  // an entry was, and nothing was heard since
  TimePoint heard_at_{};
  TimePoint open_since_{};
  TimePoint not_before_{};
  bool is_refused_ = false;  // until then, and not only out of reach
};

}  // namespace redlatch::detail
