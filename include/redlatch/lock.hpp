#pragma once

#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/checked_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// Possession of one name, as `std::unique_lock` is possession of one mutex: at most one process,
/// thread or host holds `key` at a time, until its lease ends.
///
///     redlatch::Client client("redis://127.0.0.1:6379");
///     redlatch::Lock lock(client, "job:42", {.ttl = 30s});  // released at the end of the scope
///
/// At the server it is one string, named exactly `key`, that contains a random token and expires
/// after the ttl (`SET key token NX PX ttl`). So it excludes, and is excluded by, every other
/// library that uses this convention on the same key. It meets *TimedLockable*, so `std::lock`,
/// `std::scoped_lock` and `std::condition_variable_any` work with it.
///
/// Waiters queue up, inside the process and at the server, and are notified when it is their turn.
/// While the queue at the server is not empty, waiters of other libraries may starve.
///
/// Each object is a holder of its own: a second object on a key that this process holds, in the
/// same thread as well, waits until the first one is released. Where functions that need the same
/// lock call each other, pass the lock on, or use a `RecursiveLock`. The event `contended` says in
/// its `detail` that this process holds the key, and which thread has acquired it.
///
/// Thread-safety: use an object from one thread at a time; any thread may unlock it. The
/// members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] Lock : public CheckedLock<Client, std::string> {
 public:
  using CheckedLock::CheckedLock;

  /// Acquires the lock as `lock()` does: waits without bound. The constructors throw
  /// `Errc::invalid_argument` for an empty key or an option that cannot work, and
  /// `Errc::unsupported` for a lock that needs scripts where none may be sent. Those that acquire
  /// throw what `lock()` throws, too.
  [[nodiscard]] Lock(Client& client, std::string key, LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt, as `try_lock()` does; `owns_lock()` has the outcome.
  [[nodiscard]] Lock(Client& client, std::string key, std::try_to_lock_t, LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API Lock(Client& client, std::string key, std::defer_lock_t,
                                  LockOptions options = {});
  /// Waits for at most `wait`, as `try_lock_for()` does; `owns_lock()` has the outcome.
  template <class Rep, class Period>
  [[nodiscard]] Lock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                     LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested, as `lock(stop)` does; `owns_lock()` has the outcome.
  [[nodiscard]] Lock(Client& client, std::string key, std::stop_token stop,
                     LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested; `owns_lock()` has the outcome.
  template <class Rep, class Period>
  [[nodiscard]] Lock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                     std::stop_token stop, LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }
};

}  // namespace redlatch
