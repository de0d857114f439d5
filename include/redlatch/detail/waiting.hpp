#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include <redlatch/detail/backoff.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/holding.hpp>
#include <redlatch/detail/queue_place.hpp>
#include <redlatch/error.hpp>
#include <redlatch/options.hpp>

namespace redlatch::detail {

/// One call that waits for a lock, in line with the others of its client.
template <class Protocol>
class Waiting {
 public:
  /// `answered`: the server has said before that somebody else holds the lock.
  Waiting(Holding<Protocol>& holding, const LockOptions& options, std::optional<TimePoint> deadline,
          const std::stop_token& stop, bool answered)
      : holding_(holding),
        options_(options),
        deadline_(deadline),
        stop_(stop),
        answered_(answered) {}

  /// Until the lock is held, which is true, or the time is over or a stop requested. Rides out a
  /// server that is away or cannot write, once it has answered; throws `Error` for that when the
  /// time is over, and for anything else at once.
  bool until_held() {
    bool held = false;
    // What was passed on may have come too late.
    while (!held && !over() && !stop_.stop_requested()) {
      const std::unique_ptr<QueuePlace> place =
          executor().line_up(holding_.protocol().key(), options_);
      try {
        held = wait_at(*place);
      } catch (...) {
        if (!holds_now(place->leave(false), false)) throw;
        return true;
      }
      held = holds_now(place->leave(held), held);
    }
    return held;
  }

 private:
  Executor& executor() const noexcept { return holding_.executor(); }
  bool over() const noexcept { return deadline_ && executor().now() >= *deadline_; }

  /// The first asks again and again, the others once their time is over.
  bool wait_at(QueuePlace& place) {
    Backoff backoff;
    Attempt last;
    std::optional<Error> error;
    Look look = Look::at_life_and_kind;
    while (!last.held && !over()) {
      const TimePoint end =
          executor().now() + (place.is_first() ? backoff.next(last.life) : Backoff::longest);
      place.wait(deadline_ ? std::min(*deadline_, end) : end, stop_);
      if (place.has_lease() || stop_.stop_requested()) return false;
      if (!place.is_first() && !over()) continue;
      error.reset();
      try {
        last = holding_.attempt(options_, look);
        look = Look::at_life;
        answered_ = true;
      } catch (const Error& failure) {
        if (!answered_ || !ridden_out(failure)) throw;
        error = failure;
        last = {};
      }
      place.note_answers(!error);
    }
    if (error) throw *error;
    return last.held;
  }

  static bool ridden_out(const Error& error) noexcept {
    return error.code() == Errc::unreachable || error.code() == Errc::timed_out ||
           error.code() == Errc::not_writable;
  }

  /// With what was passed on, if anything was.
  bool holds_now(TenureOf lease, bool held) noexcept {
    if (!lease) return held;
    if (!held && lease->valid(executor().now(), executor().process())) {
      holding_.take_over(std::move(lease));
      return true;
    }
    holding_.give_back(std::move(lease));
    return held;
  }

  Holding<Protocol>& holding_;
  const LockOptions& options_;
  const std::optional<TimePoint> deadline_;
  const std::stop_token& stop_;
  bool answered_;
};

}  // namespace redlatch::detail
