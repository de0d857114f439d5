#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <system_error>

#include <redlatch/detail/export.hpp>

namespace redlatch {

/// The kind of an `Event`, which says what its other members mean. Later versions may have more
/// kinds, so a `switch` needs a `default`.
enum class EventKind {
  /// A lock was acquired. `elapsed`: since the call, waiting included.
  acquired,
  /// The first attempt of a call found the lock held elsewhere. `elapsed`: since the call.
  /// `detail`: if another object of this client holds the lock, the thread that has acquired it.
  /// `error`: `std::errc::resource_deadlock_would_occur` if that is the calling thread, which waits
  /// for itself unless another thread releases the lock.
  contended,
  /// A renewal succeeded. `elapsed`: since the acquisition.
  renewed,
  /// A renewal failed, and is tried again in time. `elapsed`: since the acquisition. `error`: why.
  renewal_failed,
  /// A lock is not ours any more: the key was deleted or taken over, or the lease was not renewed
  /// in time; or the reply to a release showed it. `elapsed`: as of `released`. `detail`: which of
  /// these. `error`: of the last renewal, if the lease was not renewed in time because of it.
  lost,
  /// The server has released a lock. `elapsed`: for how long it was held, from the acquisition
  /// until `unlock()` was called or its scope ended, or until its lease was over. The time until
  /// the server has answered the release does not count.
  released,
  /// The outcome of a release is not known. For `unlock()`: it was refused, or not answered within
  /// `command_timeout`. A release that no call waits for is repeated first, and the event follows
  /// when there is no way to know any more: when the server answers and does not have the lock,
  /// which an earlier attempt may have released; or when the ttl is over, or the client is gone.
  /// `elapsed`: as of `released`. `error`: why the last attempt, or the one without a reply,
  /// failed.
  release_unknown,
  /// A connection was opened. `elapsed`: since the attempt began. `detail`: the address that it
  /// leads to, as "10.0.0.7:6379" or "[::1]:6379"; empty for a Unix socket. After a failover, that
  /// of the new primary. No key.
  connected,
  /// A connection is not used any more. `elapsed`: since it was opened. `error`: why; none if the
  /// server closed it while it was idle; `Errc::not_writable` if its server is not the primary any
  /// more, as `detail` says then. No key.
  disconnected,
  /// A connection could not be opened. Each connection of the client has attempts and pauses
  /// between them of its own, which all calls on it share; the pauses grow to 1 s. That for
  /// messages to waiters is tried while a call waits, and a minute after a refusal only; without
  /// it, waits ask again and again. `Metrics` counts each attempt; of those to one server,
  /// `on_event` is called for one in a second. `elapsed`: since the attempt began. `error`: why;
  /// `not_permitted` if the user may not subscribe, and `detail` names the right that is missing.
  /// No key.
  connect_failed,
  /// An attempt of a waiting call failed, and the wait goes on (see `LockOptions::ride_out`).
  /// `Metrics` counts each attempt; of those of one client or `Quorum`, whatever their keys,
  /// `on_event` is called for one in a second. `elapsed`: since the call. `error`: why.
  attempt_failed
};

/// The name of the enumerator, as "renewal_failed"; "?" for any other value.
REDLATCH_API std::string_view to_string(EventKind kind) noexcept;
/// Writes `to_string(kind)`.
REDLATCH_API std::ostream& operator<<(std::ostream& out, EventKind kind);

/// Something that happened to a lock or to a connection. See `ClientOptions::on_event`.
struct Event {
  /// What happened.
  EventKind kind{};
  /// The key of the lock; empty for a connection.
  std::string key{};
  /// A duration whose beginning the kind defines, in microseconds.
  std::chrono::microseconds elapsed{};
  /// The reason of a failure, an `Errc` or `std::errc::not_enough_memory`; also that of
  /// `contended`. Empty for a success.
  std::error_code error{};
  /// For people: why, as the text that an `Error` would have, at most 1,024 bytes; never a password
  /// or a token. For `connected` the address; empty for any other success.
  std::string detail{};
  /// The server's URL without user or password, as `Error::server()`; "all" for the locks of a
  /// `Quorum`, which concern all of its servers.
  std::string server{};
};

/// Counts of events since the client was constructed, and the present number of locks and waits.
/// See `Client::metrics()`.
struct Metrics {
  std::uint64_t acquired = 0;   ///< `EventKind::acquired`
  std::uint64_t contended = 0;  ///< `EventKind::contended`
  /// Those of the contended calls that were single attempts (`try_lock()`, `std::try_to_lock`, or a
  /// time of zero) and gave up at once. The others had to wait.
  std::uint64_t missed = 0;
  std::uint64_t renewed = 0;          ///< `EventKind::renewed`
  std::uint64_t renewal_failed = 0;   ///< `EventKind::renewal_failed`
  std::uint64_t lost = 0;             ///< `EventKind::lost`
  std::uint64_t released = 0;         ///< `EventKind::released`
  std::uint64_t release_unknown = 0;  ///< `EventKind::release_unknown`
  std::uint64_t connected = 0;        ///< `EventKind::connected`
  std::uint64_t disconnected = 0;     ///< `EventKind::disconnected`
  std::uint64_t connect_failed = 0;   ///< `EventKind::connect_failed`, each attempt
  std::uint64_t attempt_failed = 0;   ///< `EventKind::attempt_failed`, each attempt
  /// Events that were not delivered to `ClientOptions::on_event`, because too many were pending or
  /// memory had run out. The counts above include them.
  std::uint64_t events_dropped = 0;
  /// Locks held at present.
  std::uint64_t held = 0;
  /// Calls that wait for a lock at present.
  std::uint64_t waiting = 0;
};

}  // namespace redlatch
