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
#include <redlatch/detail/validity.hpp>
#include <redlatch/protocol/command.hpp>

namespace redlatch::detail {

/// How far before the end of its validity a lease counts as lost.
constexpr std::chrono::nanoseconds loss_margin(std::chrono::nanoseconds ttl) noexcept {
  return std::max<std::chrono::nanoseconds>(std::chrono::milliseconds(2), ttl / 20);
}

/// When a lease is renewed, and how often it was handed over.
struct RenewalSchedule {
  std::chrono::milliseconds ttl{};
  bool renews = false;
  TimePoint since{};  // when the lock was acquired
  int thread = 0;     // the number of the thread that acquired it
  TimePoint renew_until = TimePoint::max();
  // To other threads of this process, since the server granted the lease.
  int handed_over = 0;
  TimePoint first_handed_over{};
};

/// One possession of a key, from the acquisition to the release: shared by the lock that has it and
/// the client's background thread.
///
/// `mutex_` guards `validity_`, which both may change at once, and is the innermost mutex: nothing
/// is called under it. Its results are atomics, read without it. The other members belong to the
/// background between `Executor::keep` and `pause_renewal` or `detach`, and else to the lock.
class Lease {
 public:
  Lease() = default;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() = default;

  /// Begins a new lease, before its acquisition, in the memory of an old one.
  void begin(Validity validity, std::string_view key) {
    validity_ = std::move(validity);
    valid_until_ = TimePoint{};
    confirmed_ = TimePoint{};
    key_ = key;
    queued_until_ = 0;
    asks_ = false;
  }
  /// Ends the lease, and returns what was known of it.
  Validity end() noexcept {
    valid_until_ = TimePoint{};
    return std::exchange(validity_, {});
  }

  const std::string& key() const noexcept { return key_; }
  const std::string& token() const noexcept { return validity_.token(); }
  const std::string& value() const noexcept { return validity_.value(); }
  void fence(std::uint64_t number) noexcept { validity_.fence(number); }
  std::uint64_t fencing_token() const noexcept { return validity_.fencing_token(); }
  bool exists(std::uint64_t process) const noexcept { return validity_.exists(process); }
  bool valid(TimePoint now, std::uint64_t process) const noexcept {
    return exists(process) && now < valid_until();
  }
  /// `TimePoint{}` if the lease is lost.
  TimePoint valid_until() const noexcept { return valid_until_; }
  bool is_lost() const noexcept { return valid_until() == TimePoint{}; }

  // As the members of `Validity`: `confirm` by the only server, `doubt` by every server.
  void confirm(Sent sent, std::chrono::milliseconds ttl) noexcept {
    change([&] { validity_.confirm(sent, ttl); });
  }
  void doubt(Sent sent, std::chrono::milliseconds ttl) noexcept {
    change([&] {
      for (std::size_t i = 0; i < validity_.servers(); ++i) validity_.doubt(sent, ttl, i);
    });
  }
  /// Applies the replies of several servers, by `learn`, in one step.
  template <class Learn>
  void learn(Learn learn) noexcept {
    change([&] { learn(validity_); });
  }
  void lose() noexcept {
    change([&] { validity_.lose(); });
  }

  /// Until when the entry in the server's queue counts, by the server's clock, before the grant.
  void queue_until(std::int64_t expiry) noexcept { queued_until_ = expiry; }
  std::int64_t queued_until() const noexcept { return queued_until_; }

  /// Sets the command that renews the lease.
  void renew_by(const protocol::Command& extension, const RenewalSchedule& schedule) {
    extension_ = extension;
    schedule_ = schedule;
  }
  void renew_by(protocol::OwnedCommand extension, std::chrono::milliseconds ttl) noexcept {
    extension_ = std::move(extension);
    schedule_.ttl = ttl;
  }
  void renew_for(const RenewalSchedule& schedule) noexcept { schedule_ = schedule; }
  void held_since(TimePoint time) noexcept { schedule_.since = time; }
  protocol::Command extension() const { return extension_.view(); }
  std::string take_key() noexcept { return std::move(key_); }
  const RenewalSchedule& schedule() const noexcept { return schedule_; }

  /// When the loss has to be announced unless the lease was renewed by then.
  TimePoint notify_loss_at() const noexcept { return valid_until() - loss_margin(ttl()); }
  /// When the renewal is due: a third of the ttl after the last confirmed command was sent.
  TimePoint renew_at() const noexcept {
    const TimePoint next = confirmed_ + ttl() / 3;
    return schedule_.renews && next < schedule_.renew_until ? next : TimePoint::max();
  }

  /// For how long the lock was held, if it is given up or lost now.
  TimePoint::duration held(TimePoint now) const noexcept {
    return std::min(now, confirmed_ + ttl()) - schedule_.since;
  }

  /// The ttl that renewals and the loss notice count by, which an extension in doubt may have cut.
  std::chrono::milliseconds ttl() const noexcept {
    return std::min(schedule_.ttl, certain_ttl_.load());
  }

  /// Whether its key is being moved to another node of a cluster, by the answer to the last
  /// renewal.
  void ask(bool asks) noexcept { asks_ = asks; }
  bool asks() const noexcept { return asks_; }

  /// Its stop is requested when the lease is lost.
  std::stop_source& lost() noexcept { return lost_; }

  /// In a forked child, where a thread of the parent may have left the mutex locked.
  void unlock_after_fork() noexcept { std::construct_at(&mutex_); }

 private:
  template <class Change>
  void change(Change change) noexcept {
    const std::lock_guard lock(mutex_);
    change();
    valid_until_ = validity_.is_lost() ? TimePoint{} : validity_.valid_until();
    certain_ttl_ = validity_.certain_ttl();
    confirmed_ = validity_.confirmed();
  }

  std::mutex mutex_{};
  Validity validity_{};
  std::atomic<TimePoint> valid_until_{};
  std::atomic<std::chrono::milliseconds> certain_ttl_{};
  TimePoint confirmed_{};

  std::string key_{};
  std::int64_t queued_until_ = 0;
  protocol::OwnedCommand extension_{};
  RenewalSchedule schedule_{};
  bool asks_ = false;
  std::stop_source lost_{std::nostopstate};
};

}  // namespace redlatch::detail
