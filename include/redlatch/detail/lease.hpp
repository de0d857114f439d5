#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Subtracted from every ttl for clocks that run at different speeds: 1 % and 2 ms.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "clock drift".
constexpr std::chrono::nanoseconds drift(std::chrono::nanoseconds ttl) noexcept {
  return ttl / 100 + std::chrono::milliseconds(2);
}

/// What is known of one lease that the server gave: no I/O, no clock of its own.
class Lease {
 public:
  /// No lease.
  Lease() = default;

  /// A lease that the server is yet to confirm.
  Lease(std::string token, std::uint64_t process, std::string_view label = {},
        std::string_view mark = {})
      : token_(std::move(token)), process_(process) {
    if (label.empty() && mark.empty()) return;
    if (!mark.empty()) value_.append(mark).append(" ");
    value_ += token_;
    if (!label.empty()) value_.append(" ").append(label);
  }

  const std::string& token() const& noexcept { return token_; }
  std::string&& token() && noexcept { return std::move(token_); }
  /// What the server knows the lease by: the token, with the label behind it, and in front of it
  /// what kind of a lock it is, where there are several.
  const std::string& value() const noexcept { return value_.empty() ? token_ : value_; }

  void fence(std::uint64_t number) noexcept { fencing_token_ = number; }
  std::uint64_t fencing_token() const noexcept { return fencing_token_; }

  TimePoint valid_until() const noexcept { return valid_until_; }

  /// Whether there is anything of this process to give back at the server.
  bool exists(std::uint64_t process) const noexcept {
    return !token_.empty() && process_ == process;
  }
  bool valid(TimePoint now, std::uint64_t process) const noexcept {
    return exists(process) && !lost_ && now < valid_until_;
  }

  /// For how long the last confirmation can be relied on, drift included.
  std::chrono::milliseconds certain_ttl() const noexcept { return certain_ttl_; }

  /// The longest that the key may live after the last command about it.
  std::chrono::milliseconds longest_ttl() const noexcept { return longest_ttl_; }

  /// The server gave the lease, or extended it, for `ttl`, asked by a message that left at `sent`.
  void confirm(TimePoint sent, std::chrono::milliseconds ttl) noexcept {
    longest_ttl_ = std::max(ttl, longest_ttl_);
    certain_ttl_ = std::min(ttl, doubted_ttl_);
    valid_until_ = sent + certain_ttl_ - drift(certain_ttl_);
  }

  /// An extension may have been carried out, or may still be: at any time from now on, so that no
  /// later one can be relied on for longer than this one gave.
  void doubt(TimePoint sent, std::chrono::milliseconds ttl) noexcept {
    longest_ttl_ = std::max(ttl, longest_ttl_);
    doubted_ttl_ = std::min(ttl, doubted_ttl_);
    certain_ttl_ = std::min(certain_ttl_, doubted_ttl_);
    valid_until_ = std::min(valid_until_, sent + ttl - drift(ttl));
  }

  void lose() noexcept { lost_ = true; }
  bool is_lost() const noexcept { return lost_; }

 private:
  std::string token_{};
  std::string value_{};  // empty: the token
  std::uint64_t fencing_token_ = 0;
  TimePoint valid_until_{};
  std::chrono::milliseconds longest_ttl_{0};
  std::chrono::milliseconds certain_ttl_{0};
  std::chrono::milliseconds doubted_ttl_ = std::chrono::milliseconds::max();
  std::uint64_t process_ = 0;
  bool lost_ = false;
};

}  // namespace redlatch::detail
