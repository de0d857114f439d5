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

  /// The next pause, a little past `remaining_ttl` at most: what is waited for ends then.
  duration next(std::optional<duration> remaining_ttl) {
    ceiling_ = std::min<duration>(2 * ceiling_, max_pause);
    const duration pause = draw(shortest, ceiling_);
    return remaining_ttl && *remaining_ttl < pause ? just_past(*remaining_ttl) : pause;
  }

  /// What is waited for ends by itself then.
  duration just_past(duration remaining_ttl) {
    return remaining_ttl + draw(duration::zero(), shortest);
  }

 private:
  static constexpr duration shortest = std::chrono::milliseconds(1);

  duration draw(duration least, duration max_time) {
    if (!random_) random_.emplace(random_seed());
    return duration(
        std::uniform_int_distribution<duration::rep>(least.count(), max_time.count())(*random_));
  }

  std::optional<std::minstd_rand> random_{};  // made when there is something to draw
  duration ceiling_ = shortest;
};

}  // namespace redlatch::detail
