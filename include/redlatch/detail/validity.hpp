#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Subtracted from every ttl for clocks that run at different speeds: 1 % and 2 ms.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "clock drift".
constexpr std::chrono::nanoseconds drift(std::chrono::nanoseconds ttl) noexcept {
  return ttl / 100 + std::chrono::milliseconds(2);
}

/// When a command was sent, and the number of its connection; 0: not known. A reply on a connection
/// shows that every command before it on that connection was carried out or never will be.
struct Sent {
  TimePoint at{};
  std::uint64_t connection = 0;
};

/// Until when one server is certain to keep a lease.
class Certainty {
 public:
  TimePoint until() const noexcept { return until_; }
  /// How long the last confirmation counts, drift included.
  std::chrono::milliseconds ttl() const noexcept { return ttl_; }
  /// When the last confirmed command was sent.
  TimePoint confirmed() const noexcept { return confirmed_.at; }

  /// The server has the lease for `ttl`. A reply that is processed behind the reply to a later
  /// command does not count.
  void confirm(Sent sent, std::chrono::milliseconds ttl) noexcept {
    if (sent.at < confirmed_.at) return;
    leave_connections_but(sent.connection);
    if (sent.at > last_pending_.at) pending_ = none;
    confirmed_ = sent;
    ttl_ = std::min({ttl, pending_, overdue_});
    until_ = sent.at + ttl_ - drift(ttl_);
  }

  /// An extension may have been carried out, or may be later. Until a command behind it on its
  /// connection is answered, no confirmation counts for longer than this extension would.
  void doubt(Sent sent, std::chrono::milliseconds ttl) noexcept {
    const bool is_over =
        sent.connection != 0 && sent.connection == confirmed_.connection && sent.at < confirmed_.at;
    if (is_over) return;
    leave_connections_but(sent.connection);
    last_pending_ = {std::max(sent.at, last_pending_.at), sent.connection};
    pending_ = std::min(ttl, pending_);
    ttl_ = std::min(ttl, ttl_);
    until_ = std::min(until_, sent.at + ttl - drift(ttl));
  }

  /// The server does not have the lease.
  void deny(Sent sent) noexcept {
    if (sent.at >= confirmed_.at) until_ = TimePoint{};
  }

 private:
  static constexpr std::chrono::milliseconds none = std::chrono::milliseconds::max();

  /// A command pending on another connection, or on an unknown one, may be carried out at any time.
  void leave_connections_but(std::uint64_t connection) noexcept {
    if (connection != 0 && last_pending_.connection == connection) return;
    overdue_ = std::min(overdue_, pending_);
    pending_ = none;
  }

  TimePoint until_{};
  Sent confirmed_{};
  std::chrono::milliseconds ttl_{0};
  // The shortest unanswered extension: on the last connection, and on all connections before it.
  std::chrono::milliseconds pending_ = none;
  std::chrono::milliseconds overdue_ = none;
  Sent last_pending_{};
};

/// What is known of one lease, which one server has granted, or a majority of several. No I/O, and
/// no clock of its own.
class Validity {
 public:
  /// No lease.
  Validity() = default;

  /// A lease that the servers are yet to confirm.
  Validity(std::string token, std::uint64_t process, std::string_view label = {},
           std::string_view owner_tag = {}, std::size_t servers = 1)
      : token_(std::move(token)), others_(servers - 1), process_(process) {
    if (label.empty() && owner_tag.empty()) return;
    if (!owner_tag.empty()) value_.append(owner_tag).append(" ");
    value_ += token_;
    if (!label.empty()) value_.append(" ").append(label);
  }

  const std::string& token() const& noexcept { return token_; }
  std::string&& token() && noexcept { return std::move(token_); }
  /// What the server stores for the lease: the token; in front of it the owner tag, for locks with
  /// several holders; behind it the label.
  const std::string& value() const noexcept { return value_.empty() ? token_ : value_; }

  void fence(std::uint64_t number) noexcept { fencing_token_ = number; }
  std::uint64_t fencing_token() const noexcept { return fencing_token_; }

  /// Until when a majority of the servers is certain to keep the lease.
  TimePoint valid_until() const noexcept {
    return of_majority([](const Certainty& one) { return one.until(); });
  }

  /// Whether this process has a lease to release, valid or not.
  bool exists(std::uint64_t process) const noexcept {
    return !token_.empty() && process_ == process;
  }
  bool valid(TimePoint now, std::uint64_t process) const noexcept {
    return exists(process) && !lost_ && now < valid_until();
  }

  /// How long the last confirmation counts, drift included, at each of the servers that make the
  /// majority at the end of validity.
  std::chrono::milliseconds certain_ttl() const noexcept {
    const TimePoint end = valid_until();
    std::chrono::milliseconds min_ttl = std::chrono::milliseconds::max();
    for (std::size_t i = 0; i < servers(); ++i) {
      if (at(i).until() >= end) min_ttl = std::min(min_ttl, at(i).ttl());
    }
    return min_ttl;
  }

  /// When the command that a majority has last confirmed was sent.
  TimePoint confirmed() const noexcept {
    return of_majority([](const Certainty& one) { return one.confirmed(); });
  }

  /// The longest time that the key may live after the last command about it.
  std::chrono::milliseconds max_ttl() const noexcept { return max_ttl_; }

  std::size_t servers() const noexcept { return others_.size() + 1; }

  /// A server has granted or extended the lease for `ttl`, by a command sent at `sent`.
  void confirm(Sent sent, std::chrono::milliseconds ttl, std::size_t server = 0) noexcept {
    max_ttl_ = std::max(ttl, max_ttl_);
    at(server).confirm(sent, ttl);
  }

  /// A server may have carried an extension out, or may do so later.
  void doubt(Sent sent, std::chrono::milliseconds ttl, std::size_t server = 0) noexcept {
    max_ttl_ = std::max(ttl, max_ttl_);
    at(server).doubt(sent, ttl);
  }

  /// A server does not have the lease. Whether it is lost is up to the majority.
  void deny(Sent sent, std::size_t server = 0) noexcept { at(server).deny(sent); }

  void lose() noexcept { lost_ = true; }
  bool is_lost() const noexcept { return lost_; }

 private:
  Certainty& at(std::size_t server) noexcept { return server == 0 ? first_ : others_[server - 1]; }
  const Certainty& at(std::size_t server) const noexcept {
    return server == 0 ? first_ : others_[server - 1];
  }

  /// The largest value that a majority of the servers reaches.
  template <class Value>
  TimePoint of_majority(Value value) const noexcept {
    if (others_.empty()) return value(first_);
    TimePoint largest{};
    for (std::size_t i = 0; i < servers(); ++i) {
      std::size_t reached = 0;
      for (std::size_t j = 0; j < servers(); ++j) reached += value(at(j)) >= value(at(i)) ? 1U : 0U;
      if (reached >= servers() / 2 + 1) largest = std::max(largest, value(at(i)));
    }
    return largest;
  }

  std::string token_{};
  std::string value_{};  // empty: it is the token
  std::uint64_t fencing_token_ = 0;
  Certainty first_{};
  std::vector<Certainty> others_{};  // at the second and further servers
  std::chrono::milliseconds max_ttl_{0};
  std::uint64_t process_ = 0;
  bool lost_ = false;
};

}  // namespace redlatch::detail
