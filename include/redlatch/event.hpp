#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>

namespace redlatch {

/// The kind of an `Event`, which says what its other members mean.
enum class EventKind {
  /// A lock was acquired. `elapsed`: since the call, waiting included.
  acquired,
  /// The first attempt of a call found the lock held elsewhere. `elapsed`: since the call.
  contended,
  /// A renewal succeeded. `elapsed`: since the acquisition.
  renewed,
  /// A renewal failed, and is tried again in time. `elapsed`: since the acquisition. `error`: why.
  renewal_failed,
  /// A lock is not ours any more: the key was deleted or taken over, or the lease was not renewed
  /// in
  /// time; or the reply to a release showed it. `elapsed`: since the acquisition.
  lost,
  /// The server has released a lock. `elapsed`: since the acquisition.
  released,
  /// The outcome of a release is not known. For `unlock()`: it was refused, or not answered within
  /// `command_timeout`. A release that no call waits for is repeated first, and the event follows
  /// when there is no way to know any more: when the server answers and does not have the lock,
  /// which an earlier attempt may have released; or when the ttl is over, or the client is gone.
  /// `elapsed`: since the acquisition. `error`: why the last attempt, or the one without a reply,
  /// failed.
  release_unknown,
  /// A connection was opened. `elapsed`: since the attempt began. No key.
  connected,
  /// A connection is not used any more. `elapsed`: since it was opened. `error`: why; none if the
  /// server closed it while it was idle. No key.
  disconnected
};

/// Something that happened to a lock or to a connection. See `ClientOptions::on_event`.
struct Event {
  /// What happened.
  EventKind kind{};
  /// The key of the lock; empty for a connection.
  std::string key{};
  /// A duration whose beginning the kind defines, in microseconds.
  std::chrono::microseconds elapsed{};
  /// The reason of a failure, an `Errc` or `std::errc::not_enough_memory`; empty for a success.
  std::error_code error{};
};

/// Counts of events since the client was constructed, and the present number of locks and waits.
/// See `Client::metrics()`.
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
  /// Events that were not delivered to `ClientOptions::on_event`, because too many were pending or
  /// memory had run out. The counts above include them.
  std::uint64_t events_dropped = 0;
  /// Locks held at present.
  std::uint64_t held = 0;
  /// Calls that wait for a lock at present.
  std::uint64_t waiting = 0;
};

}  // namespace redlatch
