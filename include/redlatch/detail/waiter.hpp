#pragma once

#include <cstdint>
#include <stop_token>
#include <string_view>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/lease_ptr.hpp>

namespace redlatch::detail {

/// Where the server's messages for those who wait arrive. No channel: nowhere.
struct Address {
  std::string_view channel{};
  std::int64_t subscriber = 0;  // by its number, where changes of keys may be sent to; 0: nowhere
  bool is_refused = false;      // there will be no channel for a while
  bool is_pending = false;      // another thread is about to open one
  bool is_closed = false;       // the connection for it was closed at SUBSCRIBE
};

/// A place in the queue that a client keeps for each key: first come, first served, and only the
/// first asks the server. Whoever gives a lease of the key up may pass it on to the first.
///
/// The first may have an entry in the queue at the server: a tenure that is valid from when the
/// server grants it, until the time that it was last confirmed for. Whoever becomes the first
/// inherits it.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  /// Behind `leave`.
  virtual ~Waiter() = default;

  virtual bool is_first() const noexcept = 0;
  /// Until `end`, or until there is something to do: a lease was passed on, the lock was given up
  /// while this is the first, the server has news of the entry, or a stop is requested. May come
  /// back for nothing.
  virtual void wait(TimePoint end, const std::stop_token& stop) = 0;
  /// The same for one that is not the first: also until it is.
  virtual void wait_in_line(TimePoint end, const std::stop_token& stop) = 0;
  /// Whether one was passed on.
  virtual bool has_lease() const noexcept = 0;
  /// Whether the server answers the first. Those who come while it does not ask it themselves.
  virtual void note_answers(bool come) noexcept = 0;

  /// Where the server shall send its messages. May connect, until `latest` or until a stop is
  /// requested.
  virtual Address address(TimePoint latest, const std::stop_token& stop) = 0;
  /// The server cannot do that, or does not let its user: nobody queues up there for a while.
  virtual void refuse_queue() noexcept = 0;
  /// Before the entry is said, so that no message about it is missed. The place has none yet.
  virtual void enter(LeasePtr entry) noexcept = 0;
  /// Null: none.
  virtual Lease* entry() const noexcept = 0;
  /// Whether the server has sent word that it is granted.
  virtual bool is_granted() const noexcept = 0;
  /// Whether there is a grant, or something has happened to the key or to messages about it.
  virtual bool has_news() const noexcept = 0;
  /// What has happened until now is known.
  virtual void forget_changes() noexcept = 0;
  /// How an entry ends, as far as messages are concerned.
  enum class Ending {
    settled,
    notified,  // it was granted by a message, which may come yet
    gone       // the server has passed it over, as it does with those whom it cannot tell
  };
  virtual LeasePtr withdraw(Ending how) noexcept = 0;

  struct Left {
    LeasePtr lease{};
    LeasePtr entry{};
  };
  /// Gives the place up, with the lock in hand or without: then the next one asks for it at once.
  /// What was passed on by then, if anything was, and an entry that nobody inherits are the
  /// caller's.
  virtual Left leave(bool held) noexcept = 0;
};

}  // namespace redlatch::detail
