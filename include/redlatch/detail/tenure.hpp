#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// How far before the end of its validity a lease counts as lost.
constexpr std::chrono::nanoseconds notice(std::chrono::nanoseconds ttl) noexcept {
  return std::max<std::chrono::nanoseconds>(std::chrono::milliseconds(2), ttl / 20);
}

/// What is to be done for a lease while it is held.
struct Upkeep {
  std::chrono::milliseconds ttl{};
  bool renews = false;
  TimePoint since{};
  TimePoint renew_until = TimePoint::max();
  // Inside this process, without a word to the server.
  int handed_over = 0;
  TimePoint first_handed_over{};
};

/// One possession, from the acquisition to the release: what the lock that has it and the client's
/// background thread share. The lease may be asked and changed by both at once. The upkeep is the
/// background's while it keeps the tenure, and the lock's before and after.
class Tenure {
 public:
  Tenure() = default;
  Tenure(const Tenure&) = delete;
  Tenure& operator=(const Tenure&) = delete;
  ~Tenure() = default;

  /// Before an acquisition. Keeps the memory of the one before.
  void begin(Lease lease, std::string_view key) {
    lease_ = std::move(lease);
    valid_until_ = TimePoint{};
    confirmed_ = TimePoint{};
    key_ = key;
    queued_until_ = 0;
  }
  /// There is no lease afterwards.
  Lease end() noexcept {
    valid_until_ = TimePoint{};
    return std::exchange(lease_, {});
  }

  const std::string& key() const noexcept { return key_; }
  const std::string& token() const noexcept { return lease_.token(); }
  const std::string& value() const noexcept { return lease_.value(); }
  void fence(std::uint64_t number) noexcept { lease_.fence(number); }
  std::uint64_t fencing_token() const noexcept { return lease_.fencing_token(); }
  bool exists(std::uint64_t process) const noexcept { return lease_.exists(process); }
  bool valid(TimePoint now, std::uint64_t process) const noexcept {
    return exists(process) && now < valid_until();
  }
  /// In the past when the lease is lost.
  TimePoint valid_until() const noexcept { return valid_until_; }
  bool is_lost() const noexcept { return valid_until() == TimePoint{}; }

  // As those of `Lease`: by the only server, and by every server.
  void confirm(Sent sent, std::chrono::milliseconds ttl) noexcept {
    change([&] { lease_.confirm(sent, ttl); });
  }
  void doubt(Sent sent, std::chrono::milliseconds ttl) noexcept {
    change([&] {
      for (std::size_t i = 0; i < lease_.servers(); ++i) lease_.doubt(sent, ttl, i);
    });
  }
  /// Changes what is known of the lease at each server, by `learn`, in one step.
  template <class Learn>
  void learn(Learn learn) noexcept {
    change([&] { learn(lease_); });
  }
  void lose() noexcept {
    change([&] { lease_.lose(); });
  }

  /// Until when an entry in the queue counts that is yet to be granted, by the server's clock.
  void queue_until(std::int64_t expiry) noexcept { queued_until_ = expiry; }
  std::int64_t queued_until() const noexcept { return queued_until_; }

  /// What renews the lease.
  void renew_by(const protocol::Command& extension, const Upkeep& upkeep) {
    extension_ = extension;
    upkeep_ = upkeep;
  }
  void renew_by(protocol::OwnedCommand extension, std::chrono::milliseconds ttl) noexcept {
    extension_ = std::move(extension);
    upkeep_.ttl = ttl;
  }
  void renew_for(const Upkeep& upkeep) noexcept { upkeep_ = upkeep; }
  protocol::Command extension() const { return extension_.view(); }
  std::string take_key() noexcept { return std::move(key_); }
  const Upkeep& upkeep() const noexcept { return upkeep_; }

  /// When the loss has to be told unless the lease was renewed by then.
  TimePoint notice_at() const noexcept { return valid_until() - notice(ttl()); }
  /// When the lease is to be renewed, counted from when its last confirmation was asked for.
  TimePoint renew_at() const noexcept {
    const TimePoint next = confirmed_ + ttl() / 3;
    return upkeep_.renews && next < upkeep_.renew_until ? next : TimePoint::max();
  }

  /// What the times of the upkeep are counted by: an extension that is in doubt may have made it
  /// shorter.
  std::chrono::milliseconds ttl() const noexcept {
    return std::min(upkeep_.ttl, certain_ttl_.load());
  }

  /// Told when the lease is lost.
  std::stop_source& lost() noexcept { return lost_; }

  /// In a forked child, where other threads may have left it locked.
  void unlock_after_fork() noexcept { std::construct_at(&mutex_); }

 private:
  template <class Change>
  void change(Change change) noexcept {
    const std::lock_guard lock(mutex_);
    change();
    valid_until_ = lease_.is_lost() ? TimePoint{} : lease_.valid_until();
    certain_ttl_ = lease_.certain_ttl();
    confirmed_ = lease_.confirmed();
  }

  std::mutex mutex_{};
  Lease lease_{};
  std::atomic<TimePoint> valid_until_{};
  std::atomic<std::chrono::milliseconds> certain_ttl_{};
  TimePoint confirmed_{};

  std::string key_{};
  std::int64_t queued_until_ = 0;
  protocol::OwnedCommand extension_{};
  Upkeep upkeep_{};
  std::stop_source lost_{std::nostopstate};
};

}  // namespace redlatch::detail
