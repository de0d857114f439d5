#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace detail {
class LockCore;
}

/// The answer to `unlock()`.
enum class Unlock {
  /// The server has given the lock up, and it was ours until then. Or a waiting thread of the same
  /// client has it now, to which it was passed on without asking the server, as it was valid by the
  /// clocks: then the server is not asked whether a stranger has deleted or overwritten the key,
  /// and that thread's lock is the one that is told of the loss.
  released,
  /// It was no longer ours: it had expired, was taken over or deleted, or was not held at all.
  lost,
  /// The server has not said. The release is repeated in the background until it does, or until the
  /// ttl is over.
  unknown
};

/// Possession of one name at the server, as `std::unique_lock` is possession of a mutex: what all
/// lock classes have in common.
///
///               | free                | held                     | lost (or expired)
///   ------------+---------------------+--------------------------+-------------------------------
///   lock, try_* | held, or stays free | throws resource_deadlock | lets go of the old lease first
///   extend      | false               | held, or lost            | false
///   verify      | false               | held, or lost            | false
///   unlock      | `lost`              | free, whatever is said   | free; releases; `lost`
///   not renewed |                     | lost                     |
///   in time     |                     |                          |
///   fork, child | free                | free, nothing is sent    | free, nothing is sent
///
/// One object is for one thread at a time; any thread may unlock it.
class REDLATCH_API BasicLock {
 public:
  /// Releases what is held and does not wait for the answer: a lock that turns out to be lost, or
  /// whose release stays unknown, is told to `ClientOptions::on_event`. Never throws and never
  /// connects: without a connection the release is done in the background. Waits, for at most
  /// `command_timeout`, only for a server that takes neither scripts nor conditional commands.
  ~BasicLock();

  /// The other is not held afterwards.
  BasicLock(BasicLock&& other) noexcept;
  /// The same, and releases what was held before.
  BasicLock& operator=(BasicLock&& other) noexcept;
  BasicLock(const BasicLock&) = delete;
  BasicLock& operator=(const BasicLock&) = delete;

  /// Waits until the lock is held, without bound. Throws `Error` when the first attempt fails; once
  /// it waits, it rides out a server that is away or cannot write, and throws for anything else.
  /// Throws `std::errc::resource_deadlock_would_occur` when this object holds the lock already.
  void lock();

  /// The same until a stop is requested: false when that comes before the lock is held. A command
  /// that is under way is waited for; when that gives the lock, it is held.
  [[nodiscard]] bool lock(std::stop_token stop);

  /// One attempt. False when somebody else holds the lock, which is not an error. Throws as `lock`
  /// does. The first attempt of an object that fails costs one command more, which asks what holds
  /// the key: `Errc::wrong_type` when it is no lock, for a user who may use `TYPE`.
  [[nodiscard]] bool try_lock();

  /// Waits for at most `wait`, and at least for one attempt. False when the time is over, or a stop
  /// was requested, as above. Throws as `lock` does, and the last error when the time ends with
  /// one.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& wait,
                                  std::stop_token stop = {}) {
    return try_lock_within(Seconds(wait), std::move(stop));
  }

  /// The same until `end`, as far away as its clock says at the call.
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& end,
                                    std::stop_token stop = {}) {
    // Where a clock's first or last time point minus its present would overflow, this does not.
    using Precise = std::chrono::duration<long double>;
    return try_lock_for(Precise(end.time_since_epoch()) - Precise(Clock::now().time_since_epoch()),
                        std::move(stop));
  }

  /// Gives the lock up and says whether it was still ours. Answers within `command_timeout`. The
  /// object holds nothing afterwards, whatever the answer is.
  Unlock unlock() noexcept;

  /// True while possession is certain. No I/O: it compares clocks.
  bool owns_lock() const noexcept;
  /// The same as `owns_lock()`.
  explicit operator bool() const noexcept { return owns_lock(); }

  /// When possession stops being certain: the ttl counted from before the request was sent, less a
  /// margin for drifting clocks of 1 % and 2 ms. `time_point{}` when not held. No I/O.
  std::chrono::steady_clock::time_point expires_at() const noexcept;

  /// The time until `expires_at()`, rounded down; zero when not held. No I/O.
  std::chrono::milliseconds remaining() const noexcept;

  /// Back to a full ttl from now on. False when the lock is not held or was lost. Throws `Error`
  /// when the server did not say; the lock stays held as long as is certain then. `remaining()` is
  /// less than the ttl after an earlier command for a shorter one was not answered, since that
  /// command may still be carried out.
  [[nodiscard]] bool extend();
  /// The same with another ttl, in milliseconds, which renewals give from then on, too. It is
  /// checked as the option is.
  [[nodiscard]] bool extend(std::chrono::milliseconds ttl);

  /// Asks the server whether the lock is still ours. False when it is not held or was lost. Throws
  /// `Error` when the server did not say.
  [[nodiscard]] bool verify();

  /// What it is a lock of, held or not; empty for a lock that was moved from.
  const std::string& key() const noexcept;

  /// The UUID of the lease, the right to release it; empty when not held.
  const std::string& token() const noexcept;

  /// Told once the lock is lost, in time: when the server says so, when renewals have failed until
  /// the twentieth part of the ttl (at least 2 ms) before the end of validity, or when there were
  /// none until then. Hand it to the work. One for each acquisition; releasing does not request a
  /// stop. Callbacks run on a thread of the client, with none of its mutexes held, and should be
  /// short, since other losses and events wait for them. A token without a state when the lock is
  /// not held, or memory has run out.
  std::stop_token lost_token() const noexcept;

  /// The number of this acquisition: larger than that of every acquisition of the key before, with
  /// fencing, through restarts and losses of the counter, unless the clock goes back while the
  /// counter's last values are lost: on one server by setting it back, and by a failover to a
  /// replica that has not received them and whose clock is behind. Let the guarded resource refuse
  /// whoever comes with a smaller one than it has seen. Zero when not held. Throws
  /// `Errc::invalid_argument` without `LockOptions::fencing`. No I/O.
  std::uint64_t fencing_token() const;

 protected:
  /// For the library's own classes: `Core` is a `detail::LockCoreOf`. Holds nothing yet. Throws
  /// `Errc::invalid_argument` when the key is empty or an option cannot work, and
  /// `Errc::unsupported` for what needs scripts where none may be sent.
  template <class Core, class... Arguments>
  REDLATCH_LOCAL explicit BasicLock(std::in_place_type_t<Core>, Arguments&&... arguments);

  /// For the library's own classes.
  detail::LockCore& core() noexcept { return *core_; }
  /// The same.
  const detail::LockCore& core() const noexcept { return *core_; }

 private:
  using Seconds = std::chrono::duration<double>;
  bool try_lock_within(Seconds wait, std::stop_token stop);

  static constexpr std::size_t room_size = 256;

  // The core is in the object itself, so that a lock takes no memory from the heap.
  alignas(std::max_align_t) std::array<std::byte, room_size> room_;
  detail::LockCore* core_;
};

}  // namespace redlatch
