#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>

namespace redlatch {

/// What has happened: see `Event`.
enum class EventKind {
  /// A lock is held from now on. `elapsed`: from the call to here, waiting included.
  acquired,
  /// The first attempt of a call found the lock held by somebody else. `elapsed`: as above.
  contended,
  /// The server has given the lease another ttl in the background.
  renewed,
  /// It has not, and will be asked again in time. `error`: why.
  renewal_failed,
  /// A lock is not ours any more: the key was deleted or taken over, or the lease was not renewed
  /// in time. Or it turned out so when the release reached the server.
  lost,
  /// The server has given the lock up.
  released,
  /// What became of a release is not known. That of `unlock()`: at once, when it was refused or not
  /// answered within `command_timeout`. One that nobody waited for is repeated, and told as soon as
  /// it is known that it will never be known: when the server answers again and does not have the
  /// lock any more, which an attempt before that was not answered may have released; else when the
  /// ttl has ended the lease, or when the client is gone. `error`: why the last attempt, or the one
  /// that was not answered, failed.
  release_unknown,
  /// A connection is there. `elapsed`: since it was begun. No key, like the next.
  connected,
  /// A connection is not used any more. `elapsed`: since it was connected. `error`: why; none when
  /// the server closed it while it was idle.
  disconnected
};

/// What happened to a lock, or to the client. See `ClientOptions::on_event`.
struct Event {
  /// What it is; the kind says what the other members mean.
  EventKind kind{};
  /// Of the lock; empty when it is about a connection.
  std::string key{};
  /// Since the lock was asked for, unless the kind says something else.
  std::chrono::microseconds elapsed{};
  /// Where something failed, by `Errc`, or `std::errc::not_enough_memory`.
  std::error_code error{};
};

/// How often each of these has happened since the client was made, and how things are now. See
/// `Client::metrics()`.
struct Metrics {
  std::uint64_t acquired = 0;         ///< `EventKind::acquired`
  std::uint64_t contended = 0;        ///< `EventKind::contended`
  std::uint64_t renewed = 0;          ///< `EventKind::renewed`
  std::uint64_t renewal_failed = 0;   ///< `EventKind::renewal_failed`
  std::uint64_t lost = 0;             ///< `EventKind::lost`
  std::uint64_t released = 0;         ///< `EventKind::released`
  std::uint64_t release_unknown = 0;  ///< `EventKind::release_unknown`
  std::uint64_t connected = 0;        ///< `EventKind::connected`
  std::uint64_t disconnected = 0;     ///< `EventKind::disconnected`
  /// Events that `ClientOptions::on_event` was not called for, because it was too far behind or
  /// memory had run out. They are counted above all the same.
  std::uint64_t events_dropped = 0;
  /// Locks that are held.
  std::uint64_t held = 0;
  /// Calls that wait for somebody else's lock.
  std::uint64_t waiting = 0;
};

}  // namespace redlatch
