#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <system_error>
#include <vector>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/due_heap.hpp"
#include "base/event_fd.hpp"
#include "base/key_table.hpp"
#include "base/mutex.hpp"
#include "base/routes.hpp"
#include "engine/keys.hpp"
#include "engine/pending_renewal.hpp"

namespace redlatch::detail {

/// A lease that was lost while it was kept.
struct Loss {
  std::stop_source notified;  // of the lock's `lost_token()`
  std::string key;
  TimePoint::duration held;  // for how long the lock was held
  // Why: for the event.
  std::error_code code{};
  std::string explanation{};
};

/// The leases of a client: decides which one is due for a renewal, and which loss is to be
/// notified. It sends nothing itself. The background thread calls `pick` and `picked_up`, the
/// notifier's thread `next_loss` and `next_loss_at`; any thread may call the other members.
///
/// `mutex_` guards the lists, and every field of an entry but those that `Lease` says are the
/// lock's. It is the last to be taken: under it there is only the mutex of a lease.
class Renewer {
 public:
  /// Leases that are picked at once. A lock that is released meanwhile waits until the renewals of
  /// all of them are queued.
  static constexpr std::size_t max_picked = 256;

  /// With a seed of 0, renewals have no jitter, for tests.
  explicit Renewer(std::uint64_t seed = random_seed()) noexcept : random_(seed) {}
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;
  ~Renewer() = default;

  /// A lease for a lock. `route` pins the key to its connection until the lease is closed and its
  /// last renewal answered, so that a release never overtakes a renewal on another connection.
  Lease& open(RoutePin route = {});
  void close(Lease& lease) noexcept;
  /// From now on the lease is renewed. True when the background thread has to wake up sooner than
  /// it would.
  bool keep(Lease& lease) noexcept;
  /// Sends no renewals until `keep` is called again. A loss is notified all the same.
  void suspend(Lease& lease) noexcept;
  /// The lock's own thread works with the lease until `keep` is called again.
  void pause_renewal(Lease& lease) noexcept { pause_renewal(lease, Place::own); }
  /// The lock gives the lease up. True when the loss of the lease has been notified.
  bool detach(Lease& lease) noexcept { return pause_renewal(lease, Place::over); }
  std::stop_token lost_token(Lease& lease);
  enum class HandedOver {
    no,             // the lease is lost
    yes,            // the other lock has it
    yes_and_sooner  // the other lock has it, and the background thread has to wake up sooner
  };
  /// A lease that is kept goes to another lock, whose `lost_token()` is another one.
  HandedOver hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept;

  /// The leases that are to be renewed now. Until `picked_up` is called, `suspend`,
  /// `pause_renewal`, `detach` and `hand_over` wait, so that no renewal is queued behind a release
  /// of its lease, and no loss of these leases is notified.
  std::span<Lease* const> pick(TimePoint now);
  void picked_up() noexcept;
  /// Makes all leases that are renewed due now: another server has them from now on, or has
  /// forgotten them.
  void renew_all(TimePoint now) noexcept;
  /// `notifier` is signalled when there is a loss to notify, or when a loss will be due before the
  /// time that `next_loss_at` has returned. To be called before any lease is opened.
  void notify(const EventFd& notifier) noexcept { notifier_ = &notifier; }
  /// A loss that is known, or is to be notified by now, as no renewal was confirmed in time.
  std::optional<Loss> next_loss(TimePoint now) noexcept;
  /// When the next loss is to be notified; in the past when there is one already.
  TimePoint next_loss_at() noexcept;
  /// When the next lease is to be picked. An earlier time comes with `keep` returning true.
  TimePoint due() const noexcept;
  /// When the first loss is due, unless its lease is renewed before.
  TimePoint first_loss() const noexcept;
  bool awaits_answers() const noexcept;
  /// How many leases are kept.
  std::size_t held() const;
  /// The number of the thread that has acquired a kept lease of one of these keys; 0: none.
  int holding_thread(std::string_view key, const protocol::Command& command) const noexcept;
  /// The value, which begins with this owner tag, of a kept lease of the key, which is its only
  /// one, that is valid; empty: there is none.
  std::optional<std::string> held_value(std::string_view key, std::string_view owner_tag,
                                        TimePoint now) const;

  /// Whether a renewal that is queued or to be retried is still to be sent: false when the lock has
  /// given its lease up. The renewal counts as answered then.
  bool is_wanted(Lease& lease) noexcept;
  /// A refused renewal is not retried, since a newer command about the lease was carried out. The
  /// next renewal is made at its time.
  void superseded(Lease& lease) noexcept;
  enum class Answered {
    too_late,   // the lock has given the lease up, or knows of its loss
    counted,    // the lease is renewed, or will be tried again
    lost,       // the server has shown the loss, which is now to be notified
    redirected  // by a node of a cluster: the lease is due again
  };
  /// Takes what each server of a quorum has replied to a renewal so far; `answered` or `failed` is
  /// still to be called with the vote.
  void learn(const PendingRenewal& renewal, std::span<const Response> responses) noexcept;
  /// Takes the reply to a renewal that was sent at `sent`; `TimePoint{}` for the vote of a quorum,
  /// as `learn` has taken the times at which each server was asked.
  Answered answered(const PendingRenewal& renewal, const protocol::Reply& reply, TimePoint sent,
                    TimePoint now) noexcept;
  /// There will be no reply to a renewal. `sent` is at `TimePoint{}` when the renewal was not sent,
  /// or `learn` has taken its times. `why`: told if the lease is lost before another renewal
  /// succeeds. False when that is `too_late`.
  bool failed(Lease& lease, std::chrono::milliseconds ttl, Sent sent, TimePoint now,
              const Failure& why) noexcept;

  // Around fork(2): the child renews no lease of its parent.
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_);

 private:
  /// What is being done with a lease, which decides the thread that may change it. The usual way is
  /// spare, own, kept, over, spare; a short section goes from own to spare. Each says from when
  /// until when.
  enum class Place {
    spare,  // no lock has it: until `open`
    own,    // the lock's thread changes it: from `open`, `pause_renewal` or the notice of its loss
    kept,   // renewed by the background thread: from `keep` until the lock pauses or detaches it
    lost,   // lost while it was kept: until the notifier takes the loss, or the lock detaches it
    over,   // the lock's thread releases it: from `detach` until `close`
    closed  // no lock has it, but a renewal is in flight: until that is answered, then `spare`
  };
  struct Entry : Lease {
    DueIndex try_index{};       // in `tries_`: kept, and no renewal in flight
    DueIndex loss_index{};      // in `losses_`: kept
    KeyLink<Entry> key_link{};  // in `keys_`: kept
    Place place = Place::spare;
    bool picked = false;         // from `pick` until `picked_up`; its thread must not touch it then
    bool is_notified = false;    // the notifier has taken the loss
    bool awaits_answer = false;  // a renewal is picked, queued, in flight or to be retried
    bool is_suspended = false;   // kept without renewals
    bool is_late = false;        // lost, as no renewal was confirmed in time
    // Of the last renewal, if that has failed.
    std::error_code failure{};
    std::string explanation{};
    // Only the lock's thread knows of it: it was never kept, or was detached with no renewal in
    // flight. Such an entry is closed and opened again without the mutex.
    bool is_free = false;
    TimePoint next_try = TimePoint::max();
    int redirects = 0;  // of renewals, in a row
    RoutePin route{};
    std::list<Entry>::iterator self{};

    void note(const Failure& why) noexcept;
    void forget_failure() noexcept {
      failure.clear();
      explanation.clear();
    }
    void forget_redirects() noexcept {
      redirects = 0;
      ask(false);
    }
    /// Puts into `loss` why the lease is lost. Throws `std::bad_alloc`.
    void explain(Loss& loss) const;
  };
  using Entries = std::list<Entry>;
  using KeptKeys = KeyTable<Entry, &Entry::key_link>;

  static bool is_looked_after(const Entry& entry) noexcept;
  static const Entry* find(const KeptKeys& kept, const Keys& wanted) noexcept;
  static Entry& entry_of(Lease& lease) noexcept { return static_cast<Entry&>(lease); }
  Entries& list_for(Place place) noexcept REDLATCH_REQUIRES(mutex_);
  void move(Entry& entry, Place to) noexcept REDLATCH_REQUIRES(mutex_);
  bool pause_renewal(Lease& lease, Place to) noexcept REDLATCH_EXCLUDES(mutex_);
  void await_picked_up(const Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  bool put_aside(Entry& entry) noexcept REDLATCH_EXCLUDES(mutex_);
  void answered(Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  bool redirect(Lease& lease, protocol::Redirection how, TimePoint now) noexcept
      REDLATCH_EXCLUDES(mutex_);
  /// When to renew a lease that was confirmed just now.
  TimePoint next_renewal(const Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  void put_in_heaps(Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  void find_losses(TimePoint now) noexcept REDLATCH_REQUIRES(mutex_);
  Entries::iterator next_lost() noexcept REDLATCH_REQUIRES(mutex_);
  void wake_notifier(TimePoint notify_at) noexcept REDLATCH_REQUIRES(mutex_);

  /// The free entry that was closed last, in `own_`; `open` takes it first. An uncontended lock and
  /// unlock then take no mutex here.
  std::atomic<Entry*> aside_ = nullptr;
  const EventFd* notifier_ = nullptr;  // set before any lease is opened
  mutable Mutex mutex_{};
  std::condition_variable picked_up_{};
  Entries spare_ REDLATCH_GUARDED_BY(mutex_){};
  Entries own_ REDLATCH_GUARDED_BY(mutex_){};  // and those that are over or closed
  Entries kept_ REDLATCH_GUARDED_BY(mutex_){};
  Entries lost_ REDLATCH_GUARDED_BY(mutex_){};
  std::size_t entries_ REDLATCH_GUARDED_BY(mutex_) = 0;  // of all four lists
  // Of the kept leases: when each is to be renewed, unless a renewal is in flight, and when its
  // loss is to be notified. A lease may have been confirmed since it was put into a heap, so both
  // are compared with the lease once more before anything is done.
  DueHeap<Entry, &Entry::try_index> tries_ REDLATCH_GUARDED_BY(mutex_){};
  DueHeap<Entry, &Entry::loss_index> losses_ REDLATCH_GUARDED_BY(mutex_){};
  KeptKeys keys_ REDLATCH_GUARDED_BY(mutex_){};  // the kept leases, by their keys
  std::vector<Lease*> picked_ REDLATCH_GUARDED_BY(mutex_){};
  std::size_t awaited_ REDLATCH_GUARDED_BY(mutex_) = 0;  // entries that await an answer
  // When the background thread wakes up; may be too early.
  TimePoint due_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  // When the notifier wakes up.
  TimePoint notify_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  std::uint64_t random_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
