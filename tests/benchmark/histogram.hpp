#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace redlatch::benchmark {

/// How often which duration was seen. A class is at most 1/64 wide, so that one more duration costs
/// a few instructions and no memory. For one thread at a time.
class Histogram {
 public:
  void add(std::chrono::nanoseconds time) noexcept {
    ++counts_[class_of(static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 0)))];
    ++count_;
  }

  void add(const Histogram& other) noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
  }

  std::uint64_t count() const noexcept { return count_; }

  /// What `share` of the durations do not exceed, in microseconds; 0 when there are none.
  double quantile_us(double share) const noexcept {
    const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > rank) return middle_ns(i) / 1000;
    }
    return 0;
  }

 private:
  static constexpr std::uint64_t longest = (std::uint64_t{1} << 40) - 1;  // 18 minutes

  // Up to 127 ns each has a class; above, the seven leading bits and the power of two choose one.
  static std::size_t class_of(std::uint64_t ns) noexcept {
    if (ns < 128) return ns;
    ns = std::min(ns, longest);
    const auto shift = static_cast<unsigned>(std::bit_width(ns)) - 7;
    return shift * 64 + (ns >> shift);
  }

  static double middle_ns(std::size_t at) noexcept {
    if (at < 128) return static_cast<double>(at);
    const double width = static_cast<double>(std::uint64_t{1} << (at / 64 - 1));
    return (static_cast<double>(at % 64 + 64) + 0.5) * width;
  }

  std::array<std::uint32_t, 34 * 64 + 64> counts_{};
  std::uint64_t count_ = 0;
};

}  // namespace redlatch::benchmark
