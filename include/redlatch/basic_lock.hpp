#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace detail {
class LockCore;
}

/// The outcome of `unlock()`.
enum class Unlock {
  /// The lock was ours, and the server has released it. Or it was handed over to a thread of the
  /// same client that waits for it, without a command, because it was valid by the clocks. The
  /// server is not asked then whether a stranger has deleted or overwritten the key: the lock of
  /// that thread learns of such a loss.
  released,
  /// The lock was not ours any more: it had expired, or the key was taken over or deleted, or it
  /// was not held at all.
  lost,
  /// The server has not answered. The release is repeated in the background until the server
  /// answers, or until the ttl is over.
  unknown
};

/// The name of the enumerator, as "released"; "?" for any other value.
REDLATCH_API std::string_view to_string(Unlock outcome) noexcept;
/// Writes `to_string(outcome)`.
REDLATCH_API std::ostream& operator<<(std::ostream& out, Unlock outcome);

/// Possession of one name at the server, as `std::unique_lock` is possession of a mutex: the
/// interface that all lock classes share. Its states, and what each function does in them:
///
///               | free                | held                     | lost (or expired)
///   ------------+---------------------+--------------------------+-------------------------------
///   lock, try_* | held, or stays free | throws resource_deadlock | releases the old lease first
///   extend      | false               | held, or lost            | false
///   verify      | false               | held, or lost            | false
///   unlock      | `lost`              | free, whatever the       | free; releases; `lost`
///               |                     | outcome is               |
///   not renewed |                     | lost                     |
///   in time     |                     |                          |
///   fork, child | free                | free, nothing is sent    | free, nothing is sent
///
/// Thread-safety: use an object from one thread at a time. Any thread may unlock it.
class REDLATCH_API BasicLock {
 public:
  /// Sends the release of a held lock and does not wait for the reply: if the lock turns out to be
  /// lost, or the outcome stays unknown, an event reports it (`ClientOptions::on_event`). Never
  /// throws and never connects: without a connection, the background does the release. Waits, for
  /// at most `command_timeout`, only for a server that takes neither scripts nor conditional
  /// commands.
  ~BasicLock();

  /// `other` is not held afterwards.
  BasicLock(BasicLock&& other) noexcept;
  /// As the constructor. A lock that this object held before is released first.
  BasicLock& operator=(BasicLock&& other) noexcept;
  BasicLock(const BasicLock&) = delete;
  BasicLock& operator=(const BasicLock&) = delete;

  /// Acquires the lock, and waits for it without bound. Throws `Error` if the first attempt fails.
  /// Once it waits, it rides out a server that is down or cannot write, and throws for any other
  /// error. Throws `std::errc::resource_deadlock_would_occur` if this object holds the lock
  /// already.
  void lock();

  /// Acquires the lock, and waits for it until a stop is requested: false if that comes first. A
  /// command that is in flight then is waited for, and the lock is held if it succeeds; an attempt
  /// to connect is not. Throws as `lock()` does.
  [[nodiscard]] bool lock(std::stop_token stop);

  /// Makes one attempt. False if the lock is held elsewhere, which is not an error. Throws as
  /// `lock()` does. The first attempt of an object that fails costs one more command (`TYPE`), and
  /// throws `Errc::wrong_type` if the key is not a lock and the user may run that command.
  [[nodiscard]] bool try_lock();

  /// Waits for at most `wait`, and makes at least one attempt. False if the time is over or a stop
  /// was requested. Throws as `lock()` does, and the error of the last attempt if the time ends
  /// with one.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& wait,
                                  std::stop_token stop = {}) {
    return try_lock_within(Seconds(wait), std::move(stop));
  }

  /// Waits until `end` at most, as `try_lock_for()` does. The time left is read from `Clock` once,
  /// at the call.
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& end,
                                    std::stop_token stop = {}) {
    // In `Clock::duration`, the first or last time point minus the present would overflow.
    using Precise = std::chrono::duration<long double>;
    return try_lock_for(Precise(end.time_since_epoch()) - Precise(Clock::now().time_since_epoch()),
                        std::move(stop));
  }

  /// Releases the lock and returns whether it was still ours. Returns within `command_timeout`. The
  /// object holds nothing afterwards, whatever the outcome is.
  Unlock unlock() noexcept;

  /// True while possession is certain. No I/O: it compares clocks.
  bool owns_lock() const noexcept;
  /// `owns_lock()`.
  explicit operator bool() const noexcept { return owns_lock(); }

  /// When possession stops being certain: the ttl, counted from before the request was sent, less a
  /// margin for drifting clocks of 1 % and 2 ms. `time_point{}` if the lock is not held. No I/O.
  std::chrono::steady_clock::time_point expires_at() const noexcept;

  /// The time until `expires_at()`, rounded down; zero if the lock is not held. No I/O.
  std::chrono::milliseconds remaining() const noexcept;

  /// Sets the lease back to its full ttl. False if the lock is not held or was lost. Throws `Error`
  /// if the server does not answer; the lock stays held then for as long as that is certain. If an
  /// earlier extension by a shorter ttl was not answered, it may still be carried out, and
  /// `remaining()` is less than the ttl.
  [[nodiscard]] bool extend();
  /// Sets the lease to another ttl, in milliseconds, as `extend()` does. Later renewals use this
  /// ttl, too. Throws `Errc::invalid_argument` for a ttl that `LockOptions::ttl` may not have.
  [[nodiscard]] bool extend(std::chrono::milliseconds ttl);

  /// Asks the server whether the lock is still ours. False if it is not held or was lost. Throws
  /// `Error` if the server does not answer.
  [[nodiscard]] bool verify();

  /// The key, whether it is held or not; empty for a lock that was moved from. No I/O.
  const std::string& key() const noexcept;

  /// The UUID of the lease, which is the right to release it; empty if the lock is not held. No
  /// I/O.
  const std::string& token() const noexcept;

  /// A token whose stop is requested when the lock is lost, to be handed to the work that the lock
  /// guards: when the server reports the loss, or when renewals have failed, or there were none,
  /// until a twentieth of the ttl (at least 2 ms) before the end of validity. Each acquisition has
  /// a token of its own; releasing requests no stop. Callbacks run on a thread of the client, with
  /// none of its mutexes held, and should be short, as other losses and events wait for them. A
  /// token without a state if the lock is not held, or if memory has run out. No I/O.
  std::stop_token lost_token() const noexcept;

  /// A token whose stop is requested when the lock is lost or when `other` is stopped, whichever
  /// comes first: one token for "lost or shutting down". It follows both until the lock is released
  /// or acquired anew, also when this object is moved; after that it stays as it is. Callbacks run
  /// on the thread that stops `other`, or as those of `lost_token()`. The same `other` gives the
  /// same token for as long as the lock is held; each other one takes some memory until then. If
  /// the lock is not held, the token is `other`. Throws `std::bad_alloc`. No I/O.
  std::stop_token lost_token(std::stop_token other);

  /// The number of this acquisition, with `LockOptions::fencing`: larger than that of every earlier
  /// acquisition of the key, also after a restart or a loss of the counter. The exception is a
  /// clock that goes back while the last values of the counter are lost: on one server because it
  /// is set back, and after a failover because the new primary has neither received the values nor
  /// a clock that is as far. Have the guarded resource refuse a number that is smaller than the
  /// largest it has seen. Zero if the lock is not held. Throws `Errc::invalid_argument` without
  /// `LockOptions::fencing`. No I/O.
  std::uint64_t fencing_token() const;

 protected:
  /// For the library's own classes: `Core` is a `detail::LockCoreOf`. Holds nothing yet. Throws
  /// `Errc::invalid_argument` for an empty key or an option that cannot work, and
  /// `Errc::unsupported` for a lock that needs scripts where none may be sent.
  template <class Core, class... Arguments>
  REDLATCH_LOCAL explicit BasicLock(std::in_place_type_t<Core>, Arguments&&... arguments);

  /// For the library's own classes: what does the work.
  detail::LockCore& core() noexcept { return *core_; }
  /// For the library's own classes: what does the work.
  const detail::LockCore& core() const noexcept { return *core_; }

 private:
  using Seconds = std::chrono::duration<double>;
  bool try_lock_within(Seconds wait, std::stop_token stop);

  static constexpr std::size_t room_size = 256;

  // The core lives in the object itself, so that a lock allocates nothing.
  alignas(std::max_align_t) std::array<std::byte, room_size> room_;
  detail::LockCore* core_;
};

/// Whether every one of these locks is held, by `owns_lock()`. To be asked in front of each step
/// that cannot be undone, for all locks that the step relies on. No I/O.
template <std::derived_from<BasicLock>... Locks>
bool owns_all(const Locks&... locks) noexcept {
  static_assert(sizeof...(locks) > 0, "owns_all needs at least one lock");
  return (locks.owns_lock() && ...);
}

}  // namespace redlatch
