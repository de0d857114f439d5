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

/// The read side of a key: any number of readers hold it at a time while no writer does, as
/// `std::shared_lock` of a `std::shared_mutex`.
///
///     redlatch::ReadLock lock(client, "catalogue", {.ttl = 30s});
///
/// Readers and writers queue up in the order of arrival: a waiting writer holds back the readers
/// behind it, and waits for those before it, so that neither side starves. Each reader has a lease
/// of its own, which ends by itself when the reader dies, whatever the other readers do. A waiter
/// that was killed may delay the waiters behind it for its ttl or 3 s, whichever is shorter.
///
/// A thread that holds the read side must not wait for it again with another object: if a writer
/// has queued up in between, the writer waits for the first object, and the second object for the
/// writer. A bounded wait ends such a deadlock.
///
/// Readers have no single order that a fencing token could express: `fencing` is
/// `Errc::unsupported`, and so is a client whose `ClientOptions::scripting` is off. At the server
/// the key is a sorted set of the holders, by the ends of their leases. A key of another type is
/// `Errc::wrong_type`.
///
/// The members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] ReadLock : public CheckedLock<Client, std::string> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] ReadLock(Client& client, std::string key, LockOptions options = {})
      : ReadLock(client, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] ReadLock(Client& client, std::string key, std::try_to_lock_t,
                         LockOptions options = {})
      : ReadLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API ReadLock(Client& client, std::string key, std::defer_lock_t,
                                      LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] ReadLock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                         LockOptions options = {})
      : ReadLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] ReadLock(Client& client, std::string key, std::stop_token stop,
                         LockOptions options = {})
      : ReadLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] ReadLock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                         std::stop_token stop, LockOptions options = {})
      : ReadLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }

 private:
  friend class WriteLock;
  explicit ReadLock(detail::LockCore& writer);
};

/// The write side of a key: its holder is the only one. See `ReadLock`. With `fencing`, the
/// acquisitions of writers are numbered.
///
/// A thread that holds the read side, with an object of any client, would wait for itself: `lock()`
/// throws `std::errc::resource_deadlock_would_occur`, and `try_lock()` and bounded waits return
/// false at once. If the lease of its reader is not valid any more, or was released, and is only
/// not yet over at the server, the writer waits for its end there. That takes the ttl of the reader
/// at most, if its release was lost with a failover.
///
/// A thread is recognised by having acquired the read side itself. A thread that writes and then
/// waits to read with another object is not recognised; use `downgrade()` for that.
class [[nodiscard]] WriteLock : public CheckedLock<Client, std::string> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] WriteLock(Client& client, std::string key, LockOptions options = {})
      : WriteLock(client, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] WriteLock(Client& client, std::string key, std::try_to_lock_t,
                          LockOptions options = {})
      : WriteLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API WriteLock(Client& client, std::string key, std::defer_lock_t,
                                       LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] WriteLock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                          LockOptions options = {})
      : WriteLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] WriteLock(Client& client, std::string key, std::stop_token stop,
                          LockOptions options = {})
      : WriteLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] WriteLock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                          std::stop_token stop, LockOptions options = {})
      : WriteLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }

  /// Turns the writer into a reader in one step, with the same options except for fencing: no other
  /// writer gets in between, and waiting readers are let in. This object holds nothing afterwards.
  /// `durability` is not waited for again. Throws `Error` if the server refuses, and the lock stays
  /// held; if the server does not answer (`in_doubt()`), the lock is lost. Throws
  /// `std::errc::operation_not_permitted` if this object does not hold the lock, or the server
  /// reports that it is lost.
  [[nodiscard]] REDLATCH_API ReadLock downgrade();
};

}  // namespace redlatch
