#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <utility>

#include <redlatch/basic_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/exclusive.hpp>

namespace redlatch {

/// Possession of one name, as `std::unique_lock` is possession of one mutex: at most one process,
/// thread or host holds `key` at a time, for as long as its lease lasts.
///
///     redlatch::Client client("redis://127.0.0.1:6379");
///     redlatch::Lock lock(client, "job:42", {.ttl = 30s});  // released at the end of the scope
///
/// At the server it is one string key, exactly `key`, that holds a random token and expires after
/// the ttl (`SET key token NX PX ttl`). So it excludes, and is excluded by, every other library
/// that uses this convention on the same key. It meets *TimedLockable*, so `std::lock`,
/// `std::scoped_lock` and `std::condition_variable_any` work on it.
///
/// Those who wait queue up, inside the process and at the server beside the key, and are told when
/// it is their turn. While that queue is not empty, waiters of other libraries may starve.
///
/// One object is for one thread at a time; any thread may unlock it. Everything but the
/// constructors is documented in basic_lock.hpp.
class Lock : public BasicLock<protocol::Exclusive> {
 public:
  /// Waits until the lock is held, as `lock()`.
  Lock(Client& client, std::string key, LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }

  /// One attempt: ask `owns_lock()` how it went.
  Lock(Client& client, std::string key, std::try_to_lock_t, LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }

  /// Holds nothing yet and asks nobody.
  Lock(Client& client, std::string key, std::defer_lock_t, LockOptions options = {})
      : BasicLock{client.executor(), protocol::Exclusive(std::move(key), options.fencing),
                  std::move(options)} {}

  /// Waits for at most `wait`: ask `owns_lock()` how it went.
  template <class Rep, class Period>
  Lock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
       LockOptions options = {})
      : Lock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
};

}  // namespace redlatch
