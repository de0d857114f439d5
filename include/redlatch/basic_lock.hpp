#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>

#include <redlatch/detail/checks.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/holding.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/detail/waiting.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

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

/// Possession of one name at the server, as `std::unique_lock` is possession of a mutex: the
/// machine behind every lock class. `Protocol` says what to send and what an answer means, the
/// executor says it.
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
template <class Protocol>
class BasicLock {
 public:
  /// For the classes made of this template, and for tests. Holds nothing yet. Throws
  /// `Errc::invalid_argument` when the key is empty or an option cannot work, and
  /// `Errc::unsupported` for what needs scripts where none may be sent.
  BasicLock(std::shared_ptr<detail::Executor> executor, Protocol protocol, LockOptions options)
      : holding_(std::move(executor), std::move(protocol)), options_(std::move(options)) {
    if (key().empty()) {
      throw Error(Errc::invalid_argument, "the key of a lock is empty; give it a name");
    }
    detail::check(options_, {.scripts = Protocol::needs_scripts,
                             .scripting = this->executor().scripting(),
                             .several_servers = this->executor().servers() > 1});
  }

  /// Releases what is held and does not wait for the answer: a lock that turns out to be lost, or
  /// whose release stays unknown, is told to `ClientOptions::on_event`. Never throws and never
  /// connects: without a connection the release is done in the background. Waits, for at most
  /// `command_timeout`, only for a server that takes neither scripts nor conditional commands.
  ~BasicLock() { let_go(); }

  /// The other is not held afterwards. Assigning releases what was held before.
  BasicLock(BasicLock&& other) noexcept = default;
  BasicLock(const BasicLock&) = delete;
  BasicLock& operator=(const BasicLock&) = delete;
  BasicLock& operator=(BasicLock&& other) noexcept {
    if (this == &other) return *this;
    let_go();
    holding_ = std::move(other.holding_);
    options_ = std::move(other.options_);
    return *this;
  }

  /// Waits until the lock is held, without bound. Throws `Error` when the first attempt fails; once
  /// it waits, it rides out a server that is away or cannot write, and throws for anything else.
  /// Throws `std::errc::resource_deadlock_would_occur` when this object holds the lock already.
  void lock() { static_cast<void>(acquire(std::nullopt, {})); }

  /// The same until a stop is requested: false when that comes before the lock is held. A command
  /// that is under way is waited for; when that gives the lock, it is held.
  [[nodiscard]] bool lock(std::stop_token stop) { return acquire(std::nullopt, stop); }

  /// One attempt. False when somebody else holds the lock, which is not an error. Throws as `lock`
  /// does. The first attempt of an object that fails costs one command more, which asks what holds
  /// the key: `Errc::wrong_type` when it is no lock, for a user who may use `TYPE`.
  [[nodiscard]] bool try_lock() { return acquire(executor().now(), {}); }

  /// Waits for at most `wait`, and at least for one attempt. False when the time is over, or a stop
  /// was requested, as above. Throws as `lock` does, and the last error when the time ends with
  /// one.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& wait,
                                  std::stop_token stop = {}) {
    return acquire(detail::end_of(wait, executor().now()), stop);
  }

  /// The same until `end`, as far away as its clock says at the call.
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& end,
                                    std::stop_token stop = {}) {
    // Where a clock's first or last time point minus its present would overflow, this does not.
    using Seconds = std::chrono::duration<long double>;
    return try_lock_for(Seconds(end.time_since_epoch()) - Seconds(Clock::now().time_since_epoch()),
                        std::move(stop));
  }

  /// Gives the lock up and says whether it was still ours. Answers within `command_timeout`. The
  /// object holds nothing afterwards, whatever the answer is.
  Unlock unlock() noexcept {
    if (!holding_.exists()) return Unlock::lost;
    const EventKind ending = holding_.release(options_);
    if (ending == EventKind::released) return Unlock::released;
    return ending == EventKind::release_unknown ? Unlock::unknown : Unlock::lost;
  }

  /// True while possession is certain. No I/O: it compares clocks.
  bool owns_lock() const noexcept { return holding_.exists() && holding_.valid(executor().now()); }
  explicit operator bool() const noexcept { return owns_lock(); }

  /// When possession stops being certain: the ttl counted from before the request was sent, less a
  /// margin for drifting clocks of 1 % and 2 ms. `time_point{}` when not held. No I/O.
  std::chrono::steady_clock::time_point expires_at() const noexcept {
    // Read first, so that what passes between the two readings is not counted as validity.
    const auto steady_now = std::chrono::steady_clock::now();
    const auto remaining = holding_.remaining(executor().now());
    return remaining > detail::TimePoint::duration::zero()
               ? steady_now + remaining
               : std::chrono::steady_clock::time_point();
  }

  /// The time until `expires_at()`, rounded down; zero when not held. No I/O.
  std::chrono::milliseconds remaining() const noexcept {
    return std::chrono::floor<std::chrono::milliseconds>(holding_.remaining(executor().now()));
  }

  /// Back to a full ttl, or to `ttl` (checked as the option is), from now on. False when the lock
  /// is not held or was lost. Throws `Error` when the server did not say; the lock stays held as
  /// long as is certain then. `remaining()` is less than `ttl` after an earlier command for a
  /// shorter one was not answered, since that command may still be carried out.
  [[nodiscard]] bool extend() { return extend(options_.ttl); }
  [[nodiscard]] bool extend(std::chrono::milliseconds ttl) {
    detail::check_ttl(ttl);
    if (owns_lock()) holding_.extend(ttl);
    return owns_lock();
  }

  /// Asks the server whether the lock is still ours. False when it is not held or was lost. Throws
  /// `Error` when the server did not say.
  [[nodiscard]] bool verify() {
    if (owns_lock()) holding_.verify();
    return owns_lock();
  }

  const std::string& key() const noexcept { return holding_.protocol().key(); }

  /// The UUID of the lease, the right to release it; empty when not held.
  const std::string& token() const noexcept {
    static const std::string none;
    return owns_lock() ? holding_.token() : none;
  }

  /// Told once the lock is lost, in time: when the server says so, when renewals have failed until
  /// the twentieth part of the ttl (at least 2 ms) before the end of validity, or when there were
  /// none until then. Hand it to the work. One for each acquisition; releasing does not request a
  /// stop. Callbacks run on a thread of the client, with none of its mutexes held, and should be
  /// short, since other losses and events wait for them. A token without a state when the lock is
  /// not held, or memory has run out.
  std::stop_token lost_token() const noexcept {
    try {
      return holding_.lost_token();
    } catch (const std::bad_alloc&) {
      return std::stop_token();
    }
  }

  /// The number of this acquisition: larger than that of every acquisition of the key before, with
  /// fencing, through restarts and losses of the counter, unless the clock goes back while the
  /// counter's last values are lost: on one server by setting it back, and by a failover to a
  /// replica that has not received them and whose clock is behind. Let the guarded resource refuse
  /// whoever comes with a smaller one than it has seen. Zero when not held. Throws
  /// `Errc::invalid_argument` without `LockOptions::fencing`. No I/O.
  std::uint64_t fencing_token() const {
    if (!options_.fencing) {
      throw Error(Errc::invalid_argument,
                  "this lock has no fencing token; set LockOptions::fencing to true");
    }
    return owns_lock() ? holding_.fencing_token() : 0;
  }

 protected:
  /// Gives the lease up for one of another kind, with the same options but for fencing, in one
  /// step. Throws `Error` when the server refuses or does not say; then this lock is held as
  /// before, unless it is in doubt. Throws `std::errc::operation_not_permitted` when it is not
  /// held, or not any more. Durability is not waited for once more.
  template <class Other>
  BasicLock<Other> turn_into(Other protocol) {
    if (!owns_lock()) {
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                              "redlatch: this object does not hold the lock");
    }
    LockOptions options = options_;
    options.fencing = false;
    BasicLock<Other> other(holding_.shared_executor(), std::move(protocol), std::move(options));
    holding_.turn_into(other.holding_, other.options_);
    return other;
  }

  const detail::Holding<Protocol>& holding() const noexcept { return holding_; }

 private:
  template <class>
  friend class BasicLock;

  detail::Executor& executor() const noexcept { return holding_.executor(); }

  bool acquire(std::optional<detail::TimePoint> deadline, const std::stop_token& stop) {
    if (key().empty()) {
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                              "redlatch: this lock was moved from");
    }
    if (owns_lock()) {
      throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                              "redlatch: this object holds the lock already");
    }
    let_go();
    if (stop.stop_requested()) return false;
    const detail::TimePoint begun = executor().now();
    // Who waits asks at the end of its time at the latest, so that no attempt is left out. An
    // object whose last attempt failed does not ask at once: threads that try each other's locks by
    // turns, as in std::lock, would stay in step otherwise.
    const bool waits = !over(deadline);
    const bool others_wait = waits && Protocol::is_passed_on && executor().is_waited_for(key());
    const bool asks = !waits || !(Protocol::joins_at_once || others_wait || failed_ ||
                                  executor().is_contended(key()));
    bool held = asks && holding_.attempt(options_, detail::Look::no).held;
    if (!held) {
      if (asks) executor().happened(EventKind::contended, key(), begun, {});
      detail::Waiting waiting(
          holding_, options_, deadline, stop,
          {.begun = begun, .asked = asks, .answered = asks || others_wait, .pauses = failed_});
      held = over(deadline) ? !asks && holding_.attempt(options_, detail::Look::no).held
                            : waiting.until_held();
    }
    if (!held && !waits) look_at_kind();
    failed_ = !held;
    if (held) executor().happened(EventKind::acquired, key(), begun, {});
    return held;
  }

  bool over(std::optional<detail::TimePoint> deadline) const noexcept {
    return deadline && executor().now() >= *deadline;
  }

  /// Once for each object: a key that is no lock would be held elsewhere for ever.
  void look_at_kind() {
    if (Protocol::says_kind || executor().servers() > 1 || std::exchange(has_looked_, true)) return;
    holding_.look_at_kind();
  }

  void let_go() noexcept {
    if (holding_.exists()) holding_.drop(options_);
  }

  detail::Holding<Protocol> holding_;
  LockOptions options_;
  bool failed_ = false;      // the last attempt of this object
  bool has_looked_ = false;  // at what kind of a value a failed attempt has met
};

}  // namespace redlatch
