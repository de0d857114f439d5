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
#include <redlatch/detail/holding.hpp>
#include <redlatch/detail/queue_place.hpp>
#include <redlatch/detail/queueing.hpp>
#include <redlatch/detail/wait.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// One call that waits for a lock, in line with the others of its client.
template <class Protocol>
class Waiting {
 public:
  /// What is known when the wait begins.
  struct Before {
    TimePoint begun{};      // the call
    bool asked = false;     // somebody else holds the lock, as has been told
    bool answered = false;  // the server answers
    bool pauses = false;    // others shall have time to ask before this one does
  };

  Waiting(Holding<Protocol>& holding, const LockOptions& options, std::optional<TimePoint> deadline,
          const std::stop_token& stop, Before before)
      : holding_(holding),
        options_(options),
        deadline_(deadline),
        stop_(stop),
        begun_(before.begun),
        told_(before.asked),
        answered_(before.answered),
        pauses_(before.pauses) {}

  /// Until the lock is held, which is true, or the time is over or a stop requested. Rides out a
  /// server that is away or cannot write, once it has answered; throws `Error` for that when the
  /// time is over, and for anything else at once.
  bool until_held() {
    bool held = false;
    // What was passed on may have come too late.
    do {
      const std::unique_ptr<QueuePlace> place =
          executor().line_up(holding_.protocol().key(), options_,
                             Protocol::is_passed_on ? InLine::with_others : InLine::alone);
      try {
        held = wait_at(*place);
      } catch (...) {
        if (!end(*place, false)) throw;
        return true;
      }
      held = end(*place, held);
    } while (!held && !deadlocks_ && !over(executor().now()) && !stop_.stop_requested());
    return held;
  }

 private:
  Executor& executor() const noexcept { return holding_.executor(); }
  bool over(TimePoint now) const noexcept { return deadline_ && now >= *deadline_; }

  /// The first asks, or has itself told. The others sleep until they are the first, or their time
  /// is over.
  bool wait_at(QueuePlace& place) {
    std::optional<Error> error;
    bool asks = !pauses_ && place.is_first() && has_queue(place);
    due_ = executor().now() + (asks ? TimePoint::duration::zero() : backoff_.next({}));
    for (TimePoint now = executor().now();;) {
      if (place.has_lease() || stop_.stop_requested()) return false;
      const bool last = over(now);
      if (last || (asks && place.is_first() && is_due(place, now))) {
        if (is_held(place, error, last)) return true;
        now = executor().now();
        if (last || deadlocks_ || over(now)) break;
      }
      asks = true;
      tell_contention();
      const TimePoint end = deadline_.value_or(TimePoint::max());
      if (place.is_first()) {
        place.wait(std::min(std::max(due_, now), end), stop_);
      } else {
        place.wait_in_line(end, stop_);
      }
      now = executor().now();
    }
    if (error) throw *error;
    return false;
  }

  /// Asks once. What is ridden out is left in `error`.
  bool is_held(QueuePlace& place, std::optional<Error>& error, bool last) {
    error.reset();
    bool held = false;
    try {
      held = ask(place, last);
      answered_ = true;
    } catch (const Error& failure) {
      const bool no_quorum = executor().servers() > 1 && failure.code() == Errc::no_quorum;
      if (!answered_ || !(no_quorum || is_ridden_out(failure))) throw;
      error = failure;
      due_ = executor().now() + backoff_.next({});
    }
    place.note_answers(!error);
    return held;
  }

  void tell_contention() noexcept {
    if (std::exchange(told_, true)) return;
    executor().happened(EventKind::contended, holding_.protocol().key(), begun_, {});
  }

  bool has_queue(QueuePlace& place) const {
    return Protocol::has_queue && !address(place).channel.empty();
  }
  Address address(QueuePlace& place) const {
    return place.address(deadline_.value_or(TimePoint::max()), stop_);
  }

  /// Without an entry there is something to ask whenever the wait has come back.
  bool is_due(QueuePlace& place, TimePoint now) noexcept {
    if (place.entry() == nullptr || place.is_granted() || now >= due_) return true;
    return place.has_news() && is_due_for_change(place, now);
  }
  /// The first change is worth a question at once. Where one follows the other, as of a key of the
  /// same name in another database, more and more of them share one.
  bool is_due_for_change(QueuePlace& place, TimePoint now) noexcept {
    if (now < changes_from_) {
      place.forget_changes();
      due_ = std::min(due_, changes_from_);
      return false;
    }
    const bool was_quiet = now - changes_from_ >= pace_;
    pace_ = was_quiet ? shortest_pace : std::min<TimePoint::duration>(2 * pace_, Backoff::longest);
    changes_from_ = now + pace_;
    return true;
  }

  bool ask(QueuePlace& place, bool last) {
    using Outcome = typename Queueing<Protocol>::Outcome;
    if (Protocol::has_queue && place.is_first()) {
      const Address address = this->address(place);
      const bool granted = place.is_granted();
      if (address.is_pending && place.entry() != nullptr && !granted) {
        due_ = executor().now() + backoff_.next({});
        return false;
      }
      if (address.channel.empty() && !granted) {
        queueing_.leave(place);
        if (Protocol::joins_at_once && answered_ && !last) return await_queue(address);
      } else if (const auto outcome = queueing_.speak(place, address);
                 outcome != Outcome::refused) {
        due_ = queueing_.due();
        note_deadlock(outcome == Outcome::deadlocks);
        return outcome == Outcome::held;
      }
    }
    const Attempt attempt = holding_.attempt(options_, look_);
    look_ = Look::at_life;
    due_ = executor().now() + backoff_.next(attempt.life);
    note_deadlock(attempt.deadlocks);
    return attempt.held;
  }

  /// To ask without a place in the queue would not be fair.
  bool await_queue(const Address& address) {
    const std::string& key = holding_.protocol().key();
    if (address.is_refused) {
      throw protocol::about(Errc::not_permitted, key, executor().server(0),
                            "the server does not let its user queue up, and a fair lock cannot be "
                            "had without; give the user the rights that docs/permissions.md lists");
    }
    due_ = executor().now() + backoff_.next({});
    return false;
  }

  /// Who waits for a limited time finds out that way.
  void note_deadlock(bool deadlocks) {
    deadlocks_ = deadlocks;
    if (!deadlocks || deadline_) return;
    throw std::system_error(std::make_error_code(std::errc::resource_deadlock_would_occur),
                            "redlatch: this thread holds the lock that it would wait for");
  }

  /// With what was passed on, if anything was.
  bool end(QueuePlace& place, bool held) noexcept {
    QueuePlace::Left left = place.leave(held);
    queueing_.leave(std::move(left.entry));
    if (!left.lease) return held;
    if (!held && left.lease->valid(executor().now(), executor().process())) {
      holding_.take_over(std::move(left.lease));
      return true;
    }
    holding_.give_back(std::move(left.lease));
    return held;
  }

  Holding<Protocol>& holding_;
  const LockOptions& options_;
  const std::optional<TimePoint> deadline_;
  const std::stop_token& stop_;
  const TimePoint begun_;
  bool told_;
  bool answered_;
  const bool pauses_;
  bool deadlocks_ = false;  // the wait would be for the thread that waits
  Queueing<Protocol> queueing_{holding_, options_};
  Backoff backoff_{};
  Look look_ = Look::at_life_and_kind;
  TimePoint due_{};
  static constexpr TimePoint::duration shortest_pace = std::chrono::milliseconds(1);
  TimePoint::duration pace_ = shortest_pace;
  TimePoint changes_from_{};  // a change is a reason to ask
};

}  // namespace redlatch::detail
