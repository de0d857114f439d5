#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>

#include <redlatch/detail/token_source.hpp>

namespace redlatch::detail {

/// Exponential back-off with full jitter: each pause is drawn evenly from between 1 ms and a
/// ceiling that doubles up to 100 ms, so that contenders do not stay in step. Source: "Exponential
/// Backoff And Jitter", AWS Architecture Blog, 2015.
class Backoff {
 public:
  using duration = std::chrono::nanoseconds;
  static constexpr duration max_pause = std::chrono::milliseconds(100);

  /// The next pause; it ends a little behind `remaining_ttl` at most, when the lease ends by
  /// itself.
  duration next(std::optional<duration> remaining_ttl) {
    ceiling_ = std::min<duration>(2 * ceiling_, max_pause);
    const duration pause = draw(min_pause, ceiling_);
    return remaining_ttl && *remaining_ttl < pause ? just_past(*remaining_ttl) : pause;
  }

  /// A pause until a little behind the end of a lease.
  duration just_past(duration remaining_ttl) {
    return remaining_ttl + draw(duration::zero(), min_pause);
  }

 private:
  static constexpr duration min_pause = std::chrono::milliseconds(1);

  duration draw(duration from, duration to) {
    if (!random_) random_.emplace(random_seed());
    return duration(
        std::uniform_int_distribution<duration::rep>(from.count(), to.count())(*random_));
  }

  std::optional<std::minstd_rand> random_{};  // seeded at the first draw, which costs time
  duration ceiling_ = min_pause;
};

}  // namespace redlatch::detail
