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
#include <vector>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/lease.hpp>
#include <redlatch/detail/token_source.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/due_heap.hpp"
#include "base/event_fd.hpp"
#include "base/mutex.hpp"
#include "base/routes.hpp"
#include "engine/pending_renewal.hpp"

namespace redlatch::detail {

/// A lease that was lost while it was kept.
struct Loss {
  std::stop_source notified;
  std::string key;
  TimePoint since;  // it was held
};

/// The tenures of a client: who is due for a renewal, who has to be told of a loss. It says nothing
/// to anybody by itself. `pick` and `picked_up` are the background thread's, `next_loss` and
/// `next_loss_at` the notifier's; everything else may be called by any thread.
class Renewer {
 public:
  /// With 0, renewals have no jitter.
  explicit Renewer(std::uint64_t seed = random_seed()) noexcept : random_(seed) {}
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;
  ~Renewer() = default;

  /// `route` is kept until the tenure is closed and its last renewal answered.
  Lease& open(RoutePin route = {});
  void close(Lease& lease) noexcept;
  /// True when the background thread has to look sooner than it would.
  bool keep(Lease& lease) noexcept;
  /// No renewals until it is kept again; a loss is told all the same.
  void suspend(Lease& lease) noexcept;
  void pause_renewal(Lease& lease) noexcept { pause_renewal(lease, Place::own); }
  bool detach(Lease& lease) noexcept { return pause_renewal(lease, Place::over); }
  std::stop_token lost_token(Lease& lease);
  enum class HandedOver { no, yes, yes_and_sooner };
  /// A lease that is kept goes on to another lock, which has its own notice of a loss. `no`: it is
  /// lost. `yes_and_sooner`: as `keep`.
  HandedOver hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept;

  /// Those that are to be renewed now. Nobody can take them back until `picked_up` is called, so
  /// that no renewal is put behind a release, and no loss of theirs is told.
  std::span<Lease* const> pick(TimePoint now);
  void picked_up() noexcept;
  /// Signals this when there is a loss to tell, or one earlier than `next_loss_at` has said.
  void notify(const EventFd& notifier) noexcept { notifier_ = &notifier; }
  /// A loss that is known by now, or has to be told now.
  std::optional<Loss> next_loss(TimePoint now) noexcept;
  /// When there is one to tell; in the past when there is one already.
  TimePoint next_loss_at() noexcept;
  /// When there is something to pick, unless `keep` says something else.
  TimePoint due() const noexcept;
  /// When the first loss has to be told.
  TimePoint first_loss() const noexcept;
  bool awaits_answers() const noexcept;
  std::size_t held() const;

  /// Whether one that is still to be said has somebody to be said for. It counts as answered
  /// otherwise.
  bool is_wanted(Lease& lease) noexcept;
  /// A refused renewal is not retried, since a newer command about the lease was carried out. The
  /// next renewal is made at its time.
  void superseded(Lease& lease) noexcept;
  enum class Answered { too_late, counted, lost };
  /// What each of several servers has said to one so far. The verdict is still to be handed in.
  void learn(const PendingRenewal& renewal, std::span<const Response> responses) noexcept;
  /// What the server said to one that was sent at `sent`; `TimePoint{}` for the verdict of several
  /// servers. `lost`: there is a loss to tell.
  Answered answered(const PendingRenewal& renewal, const protocol::Reply& reply, TimePoint sent,
                    TimePoint now) noexcept;
  /// There will be no answer. `sent` is at `TimePoint{}` when nothing was, or when it was learned
  /// from each server by itself. False: too late.
  bool failed(Lease& lease, std::chrono::milliseconds ttl, Sent sent, TimePoint now) noexcept;

  // Around fork(2): the child keeps nothing of its parent's.
  void before_fork() REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(mutex_);

 private:
  /// Where a tenure is, and who may do what with it.
  enum class Place {
    spare,  // nobody's
    own,    // the lock's
    kept,   // looked after
    lost,   // the loss is still to be told
    over,   // the lock's, which gives it up
    closed  // nobody's, but an answer is still to come
  };
  struct Entry : Lease {
    DueIndex try_index{};
    DueIndex loss_index{};
    Place index = Place::spare;
    bool picked = false;
    bool is_told = false;  // of the loss
    bool awaits_answer = false;
    bool is_suspended = false;
    bool is_free = false;  // is the lock's alone: it was not kept, or nothing is to come any more
    TimePoint next_try = TimePoint::max();
    RoutePin route{};
    std::list<Entry>::iterator self{};
  };
  using Entries = std::list<Entry>;

  static bool is_looked_after(const Entry& entry) noexcept;
  static Entry& entry_of(Lease& lease) noexcept { return static_cast<Entry&>(lease); }
  Entries& list_for(Place index) noexcept REDLATCH_REQUIRES(mutex_);
  void move(Entry& entry, Place to) noexcept REDLATCH_REQUIRES(mutex_);
  bool pause_renewal(Lease& lease, Place to) noexcept REDLATCH_EXCLUDES(mutex_);
  void await_picked_up(const Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  bool put_aside(Entry& entry) noexcept REDLATCH_EXCLUDES(mutex_);
  void answered(Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  /// When a lease is renewed that was confirmed just now.
  TimePoint next_renewal(const Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  void look_at(Entry& entry) noexcept REDLATCH_REQUIRES(mutex_);
  void find_losses(TimePoint now) noexcept REDLATCH_REQUIRES(mutex_);
  Entries::iterator next_lost() noexcept REDLATCH_REQUIRES(mutex_);
  void wake_notifier(TimePoint loss_margin) noexcept REDLATCH_REQUIRES(mutex_);

  /// The one that was closed last, which is opened again without the mutex. It is in `own_`.
  std::atomic<Entry*> aside_ = nullptr;
  const EventFd* notifier_ = nullptr;  // set before any lease is opened
  mutable Mutex mutex_{};
  std::condition_variable picked_up_{};
  Entries spare_ REDLATCH_GUARDED_BY(mutex_){};
  Entries own_ REDLATCH_GUARDED_BY(mutex_){};  // those that are over or closed, too
  Entries kept_ REDLATCH_GUARDED_BY(mutex_){};
  Entries lost_ REDLATCH_GUARDED_BY(mutex_){};
  std::size_t entries_ REDLATCH_GUARDED_BY(mutex_) = 0;  // all that there are
  // Of those that are kept: when a renewal is due, unless one is under way, and when a loss has to
  // be told. A lock's own thread may change the time of its lease before it is kept again, so that
  // what is at the front is looked at once more.
  DueHeap<Entry, &Entry::try_index> tries_ REDLATCH_GUARDED_BY(mutex_){};
  DueHeap<Entry, &Entry::loss_index> losses_ REDLATCH_GUARDED_BY(mutex_){};
  std::vector<Lease*> picked_ REDLATCH_GUARDED_BY(mutex_){};
  std::size_t awaited_ REDLATCH_GUARDED_BY(mutex_) = 0;
  // When the background looks again; may be too early.
  TimePoint due_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  TimePoint notice_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();  // when the notifier does
  std::uint64_t random_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
