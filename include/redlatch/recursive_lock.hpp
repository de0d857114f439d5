#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/checked_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// A lock that its owner may hold several times at once, as `std::recursive_mutex`: with several
/// objects, each of which holds it once.
///
///     redlatch::RecursiveLock outer(client, "report");
///     redlatch::RecursiveLock inner(client, "report");  // the same thread: acquired at once
///
/// The owner is the thread that acquires, or the one that is named: `Owner{"worker-7"}`, in any
/// thread, process and host. Other owners get the lock when the last hold is released, in the order
/// of arrival; the present owner overtakes them. Each hold has a lease of its own, which only its
/// object renews: the hold of a process that was killed ends after its ttl, whatever the other
/// holds do. A waiter that was killed may delay the waiters behind it for its ttl or 3 s, whichever
/// is shorter.
///
/// Throws `Errc::unsupported` if `ClientOptions::scripting` is off. At the server the key is a
/// sorted set of the holds, by the ends of their leases. A key of another type is
/// `Errc::wrong_type`.
///
/// The members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] RecursiveLock : public CheckedLock<Client, std::string> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] RecursiveLock(Client& client, std::string key, LockOptions options = {})
      : RecursiveLock(client, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] RecursiveLock(Client& client, std::string key, std::try_to_lock_t,
                              LockOptions options = {})
      : RecursiveLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API RecursiveLock(Client& client, std::string key, std::defer_lock_t,
                                           LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] RecursiveLock(Client& client, std::string key,
                              std::chrono::duration<Rep, Period> wait, LockOptions options = {})
      : RecursiveLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] RecursiveLock(Client& client, std::string key, std::stop_token stop,
                              LockOptions options = {})
      : RecursiveLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] RecursiveLock(Client& client, std::string key,
                              std::chrono::duration<Rep, Period> wait, std::stop_token stop,
                              LockOptions options = {})
      : RecursiveLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }

  /// Acquires the lock for a named owner, and waits without bound. All constructors with an owner
  /// throw `Errc::invalid_argument` for a name that cannot work.
  [[nodiscard]] RecursiveLock(Client& client, std::string key, const Owner& owner,
                              LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] RecursiveLock(Client& client, std::string key, const Owner& owner,
                              std::try_to_lock_t, LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API RecursiveLock(Client& client, std::string key, const Owner& owner,
                                           std::defer_lock_t, LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] RecursiveLock(Client& client, std::string key, const Owner& owner,
                              std::chrono::duration<Rep, Period> wait, LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] RecursiveLock(Client& client, std::string key, const Owner& owner,
                              std::stop_token stop, LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] RecursiveLock(Client& client, std::string key, const Owner& owner,
                              std::chrono::duration<Rep, Period> wait, std::stop_token stop,
                              LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }

  /// The number of holds of the owner, those of other objects included. The owner is that of this
  /// object's hold; without a hold, the owner that it would have if it acquired now. Asks the
  /// server, and throws `Error` if it does not answer.
  REDLATCH_API std::int64_t hold_count() const;
};

}  // namespace redlatch
