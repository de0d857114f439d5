#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/token_source.hpp>

namespace redlatch::detail {

/// When one of a client's connections may be opened again. One attempt at a time serves all callers
/// of the connection, and after each failure the maximum pause before the next attempt doubles,
/// from 10 ms to 1 s, with full jitter: neither many callers nor many clients storm a server that
/// is down. Guarded by the shared connection's mutex.
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

  /// The earliest time of the next attempt.
  TimePoint next() const noexcept { return next_; }
  /// The earliest time while renewals are queued, 50 ms after the last attempt at the latest:
  /// leases may be over before `next`.
  TimePoint next_for_renewals() const noexcept {
    return std::min(next_, attempted_ + max_pause_of_renewals);
  }
  /// Whether the connection is new, opened in the last 50 to 150 ms. If its server says that it is
  /// not a primary, a new connection is kept, as another would lead there, too; an older one may
  /// lead to a former primary, and is replaced.
  bool is_trusted(TimePoint now) const noexcept { return now < trusted_until_; }

  /// Makes the child of a fork draw other numbers than its parent.
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

  Pause draw(Pause from, Pause to) {
    return Pause(std::uniform_int_distribution<Pause::rep>(from.count(), to.count())(random_));
  }

  std::minstd_rand random_;
  Pause ceiling_ = min_pause;
  TimePoint next_{};
  TimePoint attempted_{};
  TimePoint trusted_until_{};
};

}  // namespace redlatch::detail
