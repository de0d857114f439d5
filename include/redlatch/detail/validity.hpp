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

/// When a command left, and on which connection to its server; 0: on one that is not known. A reply
/// on a connection shows that every command before it on that connection is over.
struct Sent {
  TimePoint at{};
  std::uint64_t connection = 0;
};

/// For how long one server is certain to keep a lease.
class Certainty {
 public:
  TimePoint until() const noexcept { return until_; }
  /// For how long the last confirmation can be relied on, drift included.
  std::chrono::milliseconds ttl() const noexcept { return ttl_; }
  /// When what was last confirmed was sent.
  TimePoint confirmed() const noexcept { return confirmed_.at; }

  /// The server has the lease for `ttl`. An answer that is taken in behind the answer to a later
  /// question is old, and counts for nothing.
  void confirm(Sent sent, std::chrono::milliseconds ttl) noexcept {
    if (sent.at < confirmed_.at) return;
    leave_connections_but(sent.connection);
    if (sent.at > last_pending_.at) pending_ = none;
    confirmed_ = sent;
    ttl_ = std::min({ttl, pending_, overdue_});
    until_ = sent.at + ttl_ - drift(ttl_);
  }

  /// An extension may have been carried out, or may be later: until something behind it on the same
  /// connection is answered, no confirmation can be relied on for longer than this one gave.
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

  /// What is pending on another connection, or on one that is not known, may come at any time.
  void leave_connections_but(std::uint64_t connection) noexcept {
    if (connection != 0 && last_pending_.connection == connection) return;
    overdue_ = std::min(overdue_, pending_);
    pending_ = none;
  }

  TimePoint until_{};
  Sent confirmed_{};
  std::chrono::milliseconds ttl_{0};
  // The shortest extension that was not answered: on the last connection, and on those before it.
  std::chrono::milliseconds pending_ = none;
  std::chrono::milliseconds overdue_ = none;
  Sent last_pending_{};
};

/// What is known of one lease that the server gave, or a majority of several: no I/O, no clock of
/// its own.
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
  /// What the server knows the lease by: the token, with the label behind it, and in front of it
  /// what kind of a lock it is, where there are several.
  const std::string& value() const noexcept { return value_.empty() ? token_ : value_; }

  void fence(std::uint64_t number) noexcept { fencing_token_ = number; }
  std::uint64_t fencing_token() const noexcept { return fencing_token_; }

  /// Until then a majority of the servers is certain to keep it.
  TimePoint valid_until() const noexcept {
    return of_majority([](const Certainty& one) { return one.until(); });
  }

  /// Whether there is anything of this process to give back at the server.
  bool exists(std::uint64_t process) const noexcept {
    return !token_.empty() && process_ == process;
  }
  bool valid(TimePoint now, std::uint64_t process) const noexcept {
    return exists(process) && !lost_ && now < valid_until();
  }

  /// For how long the last confirmation can be relied on, drift included, by any of those servers
  /// that count until the end of validity.
  std::chrono::milliseconds certain_ttl() const noexcept {
    const TimePoint end = valid_until();
    std::chrono::milliseconds least = std::chrono::milliseconds::max();
    for (std::size_t i = 0; i < servers(); ++i) {
      if (at(i).until() >= end) least = std::min(least, at(i).ttl());
    }
    return least;
  }

  /// When what a majority has last confirmed was sent.
  TimePoint confirmed() const noexcept {
    return of_majority([](const Certainty& one) { return one.confirmed(); });
  }

  /// The longest that the key may live after the last command about it.
  std::chrono::milliseconds max_ttl() const noexcept { return max_ttl_; }

  std::size_t servers() const noexcept { return others_.size() + 1; }

  /// A server gave the lease, or extended it, for `ttl`, asked by a message that left at `sent`.
  void confirm(Sent sent, std::chrono::milliseconds ttl, std::size_t server = 0) noexcept {
    max_ttl_ = std::max(ttl, max_ttl_);
    at(server).confirm(sent, ttl);
  }

  /// A server may have carried an extension out, or may do that later.
  void doubt(Sent sent, std::chrono::milliseconds ttl, std::size_t server = 0) noexcept {
    max_ttl_ = std::max(ttl, max_ttl_);
    at(server).doubt(sent, ttl);
  }

  /// A server does not have it. Whether it is lost thereby is not said.
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
  std::string value_{};  // empty: the token
  std::uint64_t fencing_token_ = 0;
  Certainty first_{};
  std::vector<Certainty> others_{};  // of several servers
  std::chrono::milliseconds max_ttl_{0};
  std::uint64_t process_ = 0;
  bool lost_ = false;
};

}  // namespace redlatch::detail
