#pragma once

#include <cstdint>
#include <stop_token>
#include <string_view>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/lease_ptr.hpp>

namespace redlatch::detail {

/// Where the server sends messages for waiters. Without a channel: nowhere.
struct GrantAddress {
  std::string_view channel{};
  std::int64_t subscriber = 0;  // the CLIENT ID for messages about changes of keys; 0: none
  bool is_refused = false;      // refused by the server, and not to be tried again for a while
  bool is_pending = false;      // another thread is opening one
  bool is_closed = false;       // the connection for the channel was closed at SUBSCRIBE
};

/// A place in the queue of waiters that a client keeps for each key: first come, first served, and
/// only the first waiter talks to the server. A release may hand its lease over to the first
/// waiter.
///
/// The first waiter may have an entry in the queue at the server: a lease that becomes valid when
/// the server grants it, until the time of its last confirmation. The next first waiter inherits
/// it.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  /// `leave` has been called.
  virtual ~Waiter() = default;

  virtual bool is_first() const noexcept = 0;
  /// Waits, as the first waiter, until `end` or until there is something to do: a lease was handed
  /// over, the lock was released in this process, the server has news of the entry, or a stop is
  /// requested. May return without a reason.
  virtual void wait(TimePoint end, const std::stop_token& stop) = 0;
  /// Waits, behind other waiters, until `end` or until this waiter is the first, a lease was handed
  /// over, or a stop is requested. May return without a reason.
  virtual void wait_in_line(TimePoint end, const std::stop_token& stop) = 0;
  /// Whether a lease was handed over to this waiter.
  virtual bool has_lease() const noexcept = 0;
  /// Notes whether the server answers the first waiter. While it does not, calls that arrive make
  /// an attempt of their own, and get the error.
  virtual void note_answers(bool come) noexcept = 0;

  /// Where the server has to send messages. May connect, until `latest` or until a stop is
  /// requested.
  virtual GrantAddress address(TimePoint latest, const std::stop_token& stop) = 0;
  /// The server cannot queue waiters, or does not let its user: none enters there for a while.
  virtual void refuse_queue() noexcept = 0;
  /// Sets the entry, before it is sent, so that no message about it is missed. There must be none.
  virtual void enter(LeasePtr entry) noexcept = 0;
  /// The entry, or null.
  virtual Lease* entry() const noexcept = 0;
  /// Whether a message of the server has granted the entry.
  virtual bool is_granted() const noexcept = 0;
  /// Whether there was a grant, a change of the key, or a gap in the messages about it.
  virtual bool has_news() const noexcept = 0;
  /// Discards the changes noted so far, before the state of the key is asked for.
  virtual void forget_changes() noexcept = 0;
  /// What the end of an entry means for messages.
  enum class Ending {
    settled,   // no message is to come, or it does not matter
    notified,  // the entry was granted, and the message about that may still come
    gone       // the server has passed it over: perhaps the subscription is lost
  };
  /// Takes the entry out of this waiter.
  virtual LeasePtr withdraw(Ending how) noexcept = 0;

  struct Left {
    LeasePtr lease{};
    LeasePtr entry{};
  };
  /// Leaves the queue, with the lock or without; without it, the next waiter asks at once. A lease
  /// that was handed over by then, and an entry that no waiter inherits, go to the caller.
  virtual Left leave(bool held) noexcept = 0;
};

}  // namespace redlatch::detail
