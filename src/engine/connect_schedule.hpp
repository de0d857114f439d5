#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/token_source.hpp>

namespace redlatch::detail {

/// When one of a client's connections may be opened again: one attempt at a time serves all of its
/// callers, and after each failure the pause before the next grows from 10 ms to 1 s, with full
/// jitter, so that neither many callers nor many clients storm a server that is away.
class ConnectSchedule {
 public:
  ConnectSchedule() : random_(random_seed()) {}

  void attempted(TimePoint now) noexcept { attempted_ = now; }
  void failed(TimePoint now) noexcept {
    ceiling_ = std::min(2 * ceiling_, max_pause);
    next_ = now + draw(min_pause, ceiling_);
  }
  void succeeded(TimePoint now) noexcept {
    ceiling_ = min_pause;
    next_ = now;
    trusted_until_ = now + draw(min_trust, max_trust);
  }

  /// Before that there is no attempt.
  TimePoint next() const noexcept { return next_; }
  /// The same while there are leases to be renewed, which may be over before `next`.
  TimePoint next_for_renewals() const noexcept {
    return std::min(next_, attempted_ + max_pause_of_renewals);
  }
  /// A server that says it is no primary is believed on a connection that is new. An older one may
  /// lead to what was the primary once, so that it is replaced.
  bool is_trusted(TimePoint now) const noexcept { return now < trusted_until_; }

  /// The child of a fork draws other numbers than its parent.
  void after_fork_in_child(std::uint32_t process) noexcept {
    next_ = {};
    random_.seed(static_cast<std::uint32_t>(random_()) ^ process);
  }

 private:
  using Pause = std::chrono::microseconds;
  static constexpr Pause min_pause = std::chrono::milliseconds(5);
  static constexpr Pause max_pause = std::chrono::seconds(1);
  static constexpr Pause max_pause_of_renewals = std::chrono::milliseconds(50);
  static constexpr Pause min_trust = std::chrono::milliseconds(50);
  static constexpr Pause max_trust = std::chrono::milliseconds(150);

  Pause draw(Pause least, Pause max_time) {
    return Pause(
        std::uniform_int_distribution<Pause::rep>(least.count(), max_time.count())(random_));
  }

  std::minstd_rand random_;
  Pause ceiling_ = min_pause;
  TimePoint next_{};
  TimePoint attempted_{};
  TimePoint trusted_until_{};
};

}  // namespace redlatch::detail
