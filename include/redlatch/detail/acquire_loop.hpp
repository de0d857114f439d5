#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <utility>

#include <redlatch/detail/backoff.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease_operations.hpp>
#include <redlatch/detail/server_queue.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// One call that waits for a lock, behind the other waiters of its client.
template <class Protocol>
class AcquireLoop {
 public:
  /// What is known when the wait begins.
  struct Before {
    TimePoint begun{};      // when the call began
    bool asked = false;     // an attempt has failed, and the event `contended` was recorded
    bool answered = false;  // the server answers
    bool away = false;      // an attempt has failed with an error that is ridden out
    bool pauses = false;    // the first attempt comes after a pause, so that others can go first
  };

  AcquireLoop(LeaseOperations<Protocol>& operations, const LockOptions& options,
              std::optional<TimePoint> deadline, const std::stop_token& stop, Before before)
      : operations_(operations),
        options_(options),
        deadline_(deadline),
        stop_(stop),
        begun_(before.begun),
        recorded_(before.asked),
        answered_(before.answered),
        is_away_(before.away),
        pauses_(before.pauses || before.away) {}

  /// Waits until the lock is held (true), or the time is over or a stop requested (false). Once the
  /// server has answered, or with `LockOptions::ride_out`, a server that is down or cannot write is
  /// ridden out. Throws `Error` for that when the time is over, unless a stop was requested, and
  /// for any other error at once.
  bool until_held() {
    bool held = false;
    // A lease that was handed over may be too old to be used: then the wait begins anew.
    do {
      const std::unique_ptr<Waiter> waiter = executor().enter_queue(
          operations_.protocol().key(), options_,
          Protocol::is_passed_on ? QueueMode::with_others : QueueMode::alone);
      try {
        held = wait_at(*waiter);
      } catch (...) {
        if (!end(*waiter, false)) throw;
        return true;
      }
      held = end(*waiter, held);
    } while (!held && !deadlocks_ && !over(executor().now()) && !stop_.stop_requested());
    return held;
  }

 private:
  Executor& executor() const noexcept { return operations_.executor(); }
  bool over(TimePoint now) const noexcept { return deadline_ && now >= *deadline_; }

  /// The first waiter sends attempts, or has an entry at the server. The others sleep until they
  /// are the first, or their time is over.
  bool wait_at(Waiter& waiter) {
    std::optional<Error> error;
    if (is_away_ && waiter.is_first()) waiter.note_answers(false);
    bool asks = !pauses_ && waiter.is_first() && has_queue(waiter);
    due_ = executor().now() + (asks ? TimePoint::duration::zero() : backoff_.next({}));
    for (TimePoint now = executor().now();;) {
      if (waiter.has_lease() || stop_.stop_requested()) return false;
      const bool last = over(now);
      if (last || (asks && waiter.is_first() && is_due(waiter, now))) {
        if (is_held(waiter, error, last)) return true;
        if (stop_.stop_requested()) return false;
        now = executor().now();
        if (last || deadlocks_ || over(now)) break;
      }
      asks = true;
      record_contention(waiter);
      sleep(waiter, now);
      now = executor().now();
    }
    if (error) throw operations_.with_holder(*error);
    if (is_closed_ && !deadlocks_) {
      throw queue_error(Errc::unreachable,
                        "the server closed the connection, before an answer to SUBSCRIBE, which a "
                        "fair lock that is waited for needs");
    }
    return false;
  }

  void sleep(Waiter& waiter, TimePoint now) {
    const TimePoint end = deadline_.value_or(TimePoint::max());
    if (waiter.is_first()) {
      waiter.wait(std::min(std::max(due_, now), end), stop_);
    } else {
      waiter.wait_in_line(end, stop_);
    }
  }

  /// Asks once. An error that is ridden out is left in `error`.
  bool is_held(Waiter& waiter, std::optional<Error>& error, bool last) {
    error.reset();
    is_away_ = false;
    bool held = false;
    try {
      held = ask(waiter, last);
      answered_ = true;
    } catch (const Error& failure) {
      if (!(answered_ || options_.ride_out || stop_.stop_requested())) throw;
      if (!is_ridden_out(failure, executor().servers() > 1 || options_.ride_out)) throw;
      if (!last && !stop_.stop_requested()) {
        operations_.record_failed_attempt(failure, executor().now() - begun_);
      }
      error = failure;
      is_away_ = true;
      due_ = executor().now() + backoff_.next({});
    }
    waiter.note_answers(!error);
    return held;
  }

  void record_contention(const Waiter& waiter) noexcept {
    const bool is_known = !is_away_ || !waiter.is_first();
    if (!is_known || std::exchange(recorded_, true)) return;
    operations_.record_contention(executor().now() - begun_, false);
  }

  bool has_queue(Waiter& waiter) const {
    return Protocol::has_queue && !address(waiter).channel.empty();
  }
  GrantAddress address(Waiter& waiter) const {
    return waiter.address(deadline_.value_or(TimePoint::max()), stop_);
  }

  /// Whether the first waiter has to ask. Without an entry, whenever its wait returns.
  bool is_due(Waiter& waiter, TimePoint now) noexcept {
    if (waiter.entry() == nullptr || waiter.is_granted() || now >= due_) return true;
    return waiter.has_news() && is_due_for_change(waiter, now);
  }
  /// The first change of the key is worth a command at once. If changes follow each other, as of a
  /// key with this name in another database, ever more of them share one command.
  bool is_due_for_change(Waiter& waiter, TimePoint now) noexcept {
    if (now < changes_from_) {
      waiter.forget_changes();
      due_ = std::min(due_, changes_from_);
      return false;
    }
    const bool was_quiet = now - changes_from_ >= pace_;
    pace_ = was_quiet ? min_pace : std::min<TimePoint::duration>(2 * pace_, Backoff::max_pause);
    changes_from_ = now + pace_;
    return true;
  }

  bool ask(Waiter& waiter, bool last) {
    using Outcome = typename ServerQueue<Protocol>::Outcome;
    if (Protocol::has_queue && waiter.is_first()) {
      const GrantAddress address = this->address(waiter);
      const bool granted = waiter.is_granted();
      if (address.is_pending && waiter.entry() != nullptr && !granted) {
        due_ = executor().now() + backoff_.next({});
        return false;
      }
      if (address.channel.empty() && !granted) {
        queueing_.leave(waiter);
        if (Protocol::joins_at_once && answered_ && !last) return await_queue(address);
      } else if (const auto outcome = queueing_.speak(waiter, address);
                 outcome != Outcome::refused) {
        is_closed_ = false;
        due_ = queueing_.due();
        note_deadlock(outcome == Outcome::deadlocks);
        return outcome == Outcome::held;
      }
    }
    const Attempt attempt = operations_.attempt(options_, query_, stop_);
    query_ = AttemptQuery::with_ttl;
    due_ = executor().now() + backoff_.next(attempt.remaining_ttl);
    note_deadlock(attempt.deadlocks);
    return attempt.held;
  }

  /// For fair locks: an attempt without an entry in the queue would overtake others.
  bool await_queue(const GrantAddress& address) {
    if (address.is_refused && address.is_closed) {
      throw queue_error(Errc::not_permitted,
                        "the connection is closed at SUBSCRIBE again and again, and a fair lock "
                        "cannot be waited for without; a proxy may not know it: have the URL lead "
                        "to the server itself");
    }
    if (address.is_refused) {
      throw queue_error(Errc::not_permitted,
                        "the server does not let its user queue up, and a fair lock cannot be "
                        "had without; give the user the rights that docs/permissions.md lists");
    }
    if (!address.is_pending) is_closed_ = address.is_closed;
    due_ = executor().now() + backoff_.next({});
    return false;
  }

  Error queue_error(Errc code, std::string_view text) const {
    return protocol::about(code, operations_.protocol().key(), executor().server(0), text);
  }

  /// Throws only from a wait without bound; a bounded wait returns false. That the server has a
  /// read lock of this thread is not enough: its release may be still to come, as after an outage,
  /// or have been lost with a failover.
  void note_deadlock(bool deadlocks) {
    deadlocks_ = deadlocks && operations_.is_read_by_thread();
    if (!deadlocks_ || deadline_) return;
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "redlatch: this thread holds the lock that it would wait for");
  }

  /// Leaves the queue. True with the lock held, perhaps by a lease that was handed over meanwhile.
  bool end(Waiter& waiter, bool held) noexcept {
    Waiter::Left left = waiter.leave(held);
    queueing_.leave(std::move(left.entry));
    if (!left.lease) return held;
    if (!held && left.lease->valid(executor().now(), executor().process())) {
      operations_.take_over(std::move(left.lease));
      return true;
    }
    operations_.give_back(std::move(left.lease));
    return held;
  }

  LeaseOperations<Protocol>& operations_;
  const LockOptions& options_;
  const std::optional<TimePoint> deadline_;
  const std::stop_token& stop_;
  const TimePoint begun_;
  bool recorded_;
  bool answered_;
  bool is_away_;  // the last attempt has failed with an error that is ridden out
  const bool pauses_;
  bool deadlocks_ = false;  // the thread would wait for itself
  bool is_closed_ = false;  // the connection for the queue, at the last attempt to open one
  ServerQueue<Protocol> queueing_{operations_, options_, stop_};
  Backoff backoff_{};
  AttemptQuery query_ = AttemptQuery::with_ttl_and_type;
  TimePoint due_{};
  static constexpr TimePoint::duration min_pace = std::chrono::milliseconds(1);
  TimePoint::duration pace_ = min_pace;
  TimePoint changes_from_{};  // from then on a change of the key is a reason to ask
};

}  // namespace redlatch::detail
