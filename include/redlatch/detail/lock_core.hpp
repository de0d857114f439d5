#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>

#include <redlatch/basic_lock.hpp>
#include <redlatch/detail/acquire_loop.hpp>
#include <redlatch/detail/checks.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease_operations.hpp>
#include <redlatch/detail/linked_stops.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/lock_protocol.hpp>

namespace redlatch::detail {

/// The implementation of a `BasicLock`, which documents the members that both have.
class LockCore {
 public:
  LockCore() = default;
  LockCore(const LockCore&) = delete;
  LockCore& operator=(const LockCore&) = delete;
  LockCore& operator=(LockCore&&) = delete;
  /// `release_if_held` has been called.
  virtual ~LockCore() = default;

  /// Constructs a core in `room` that takes over the lease and the options of this one.
  virtual LockCore& move_to(void* room) noexcept = 0;

  /// Without a deadline: waits without bound.
  virtual bool acquire(std::optional<TimePoint> deadline, std::stop_token stop) = 0;
  virtual Unlock unlock() noexcept = 0;
  /// Releases the lease, if there is one, without waiting for the reply.
  virtual void release_if_held() noexcept = 0;
  virtual bool owns_lock() const noexcept = 0;
  virtual TimePoint::duration remaining() const noexcept = 0;
  /// Without `ttl`: by the ttl of the options.
  virtual bool extend(std::optional<std::chrono::milliseconds> ttl) = 0;
  virtual bool verify() = 0;
  virtual const std::string& key() const noexcept = 0;
  virtual const std::string& token() const noexcept = 0;
  virtual std::stop_token lost_token() const = 0;
  virtual std::stop_token lost_token(std::stop_token other) = 0;
  virtual std::uint64_t fencing_token() const = 0;
  virtual TimePoint now() const noexcept = 0;

 protected:
  LockCore(LockCore&&) noexcept = default;
};

/// The state machine of every lock class. `Protocol` makes the commands and interprets the replies;
/// the executor sends the commands.
template <protocol::LockProtocol Protocol>
class LockCoreOf final : public LockCore {
 public:
  LockCoreOf(std::shared_ptr<Executor> executor, Protocol protocol, LockOptions options)
      : operations_(std::move(executor), std::move(protocol)), options_(std::move(options)) {
    if (key().empty()) {
      throw Error(Errc::invalid_argument, "the key of a lock is empty; give it a name");
    }
    check(options_, {.scripts = Protocol::needs_scripts,
                     .scripting = this->executor().scripting(),
                     .several_servers = this->executor().servers() > 1,
                     .min_hold = Protocol::has_min_hold});
  }
  LockCoreOf(LockCoreOf&& other) noexcept = default;
  LockCoreOf(const LockCoreOf&) = delete;
  LockCoreOf& operator=(const LockCoreOf&) = delete;
  LockCoreOf& operator=(LockCoreOf&&) = delete;
  ~LockCoreOf() override = default;

  LockCore& move_to(void* room) noexcept override {
    return *new (room) LockCoreOf(std::move(*this));
  }

  bool acquire(std::optional<TimePoint> deadline, std::stop_token stop) override {
    if (key().empty()) {
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                              "redlatch: this lock was moved from");
    }
    if (owns_lock()) {
      throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                              "redlatch: this object holds the lock already");
    }
    release_if_held();
    if (stop.stop_requested()) return false;
    const TimePoint begun = executor().now();
    // A wait makes its last attempt when its time ends, so a first one is not always necessary.
    // After a failed attempt, this object pauses first: threads that try each other's locks by
    // turns, as in std::lock, would stay in step otherwise.
    const bool waits = !over(deadline);
    const bool others_wait = waits && Protocol::is_passed_on && executor().is_waited_for(key());
    const bool asks = !waits || !(Protocol::joins_at_once || others_wait || failed_ ||
                                  executor().is_contended(key()));
    std::optional<Error> away;
    bool held = asks && try_once(waits && options_.ride_out, stop, away);
    if (!held) {
      const bool answered = asks && !away;
      if (answered) operations_.record_contention(now() - begun, !waits);
      if (away && !stop.stop_requested()) {
        if (over(deadline)) throw operations_.with_holder(*away);
        operations_.record_failed_attempt(*away, now() - begun);
      }
      AcquireLoop waiting(operations_, options_, deadline, stop,
                          {.begun = begun,
                           .asked = answered,
                           .answered = answered || others_wait,
                           .away = away.has_value(),
                           .pauses = failed_});
      held = over(deadline) ? !asks && try_once(false, stop, away) : waiting.until_held();
    }
    if (!held && !waits) look_at_type();
    failed_ = !held;
    if (held) {
      executor().record_event(
          {.kind = EventKind::acquired, .key = key(), .elapsed = operations_.held_since() - begun});
    }
    return held;
  }

  Unlock unlock() noexcept override {
    links_.cut();
    if (!operations_.exists()) return Unlock::lost;
    const EventKind ending = operations_.release(options_);
    if (ending == EventKind::released) return Unlock::released;
    return ending == EventKind::release_unknown ? Unlock::unknown : Unlock::lost;
  }

  void release_if_held() noexcept override {
    links_.cut();  // also in a forked child, for which there is nothing to release
    if (!operations_.exists()) return;
    operations_.drop(options_);
  }

  bool owns_lock() const noexcept override {
    return operations_.exists() && operations_.valid(now());
  }

  TimePoint::duration remaining() const noexcept override { return operations_.remaining(now()); }

  bool extend(std::optional<std::chrono::milliseconds> ttl) override {
    check_ttl(ttl.value_or(options_.ttl));
    if (owns_lock()) operations_.extend(ttl.value_or(options_.ttl));
    return owns_lock();
  }

  bool verify() override {
    if (owns_lock()) operations_.verify();
    return owns_lock();
  }

  const std::string& key() const noexcept override { return operations_.protocol().key(); }

  const std::string& token() const noexcept override {
    static const std::string none;
    return owns_lock() ? operations_.token() : none;
  }

  std::stop_token lost_token() const override { return operations_.lost_token(); }

  std::stop_token lost_token(std::stop_token other) override {
    std::stop_token lost = operations_.lost_token();
    if (lost.stop_requested() || (lost.stop_possible() && !other.stop_possible())) return lost;
    if (other.stop_requested() || !lost.stop_possible()) return other;
    return links_.link(lost, std::move(other));
  }

  std::uint64_t fencing_token() const override {
    if (!options_.fencing) {
      throw Error(Errc::invalid_argument,
                  "this lock has no fencing token; set LockOptions::fencing to true");
    }
    return owns_lock() ? operations_.fencing_token() : 0;
  }

  TimePoint now() const noexcept override { return executor().now(); }

  /// Replaces the lease by one of another class, with the same options except for fencing, in one
  /// step. Throws `Error` if the server refuses or does not answer; then this lock is held as
  /// before, unless the outcome is in doubt. Throws `std::errc::operation_not_permitted` if it is
  /// not held, or not any more. Does not wait for durability again.
  template <protocol::LockProtocol Other>
  LockCoreOf<Other> turn_into(Other protocol) {
    if (!owns_lock()) {
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted),
                              "redlatch: this object does not hold the lock");
    }
    LockOptions options = options_;
    options.fencing = false;
    LockCoreOf<Other> other(operations_.shared_executor(), std::move(protocol), std::move(options));
    operations_.turn_into(other.operations_, other.options_);
    links_.cut();
    return other;
  }

  /// The number of holds of the owner: see `RecursiveLock`.
  std::int64_t count() const { return operations_.count(); }

 private:
  template <protocol::LockProtocol>
  friend class LockCoreOf;

  Executor& executor() const noexcept { return operations_.executor(); }

  /// Makes one attempt. An error is left in `away` if it `rides_out` such, or a stop was requested
  /// meanwhile, which ends an attempt to connect; and else thrown.
  bool try_once(bool rides_out, const std::stop_token& stop, std::optional<Error>& away) {
    try {
      return operations_.attempt(options_, AttemptQuery::no, stop).held;
    } catch (const Error& error) {
      if (!(rides_out || stop.stop_requested())) throw;
      if (!is_ridden_out(error, executor().servers() > 1 || rides_out)) throw;
      away = error;
      return false;
    }
  }

  bool over(std::optional<TimePoint> deadline) const noexcept {
    return deadline && now() >= *deadline;
  }

  /// Once for each object: a key that is not a lock would look like one that is held without end.
  void look_at_type() {
    if (Protocol::checks_type || executor().servers() > 1 || std::exchange(has_looked_, true))
      return;
    operations_.look_at_type();
  }

  LeaseOperations<Protocol> operations_;
  LockOptions options_;
  LinkedStops links_{};
  bool failed_ = false;      // the last attempt of this object has failed
  bool has_looked_ = false;  // a failed attempt has asked for the type of the key
};

}  // namespace redlatch::detail

namespace redlatch {

template <class Core, class... Arguments>
BasicLock::BasicLock(std::in_place_type_t<Core>, Arguments&&... arguments)
    : core_(new (static_cast<void*>(&room_)) Core(std::forward<Arguments>(arguments)...)) {
  static_assert(sizeof(Core) <= room_size);
  static_assert(alignof(Core) <= alignof(std::max_align_t));
}

}  // namespace redlatch
