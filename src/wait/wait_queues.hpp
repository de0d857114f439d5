#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/options.hpp>

#include "base/event_source.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "wait/grant_listener.hpp"
#include "wait/local_waiter.hpp"
#include "wait/wait_mutex.hpp"

namespace redlatch::detail {

/// The waiters of one client for one key, first come, first served. Exists while there are any.
struct WaitQueue {
  std::list<LocalWaiter*> waiters REDLATCH_GUARDED_BY(wait_mutex){};
  // The server answers the first waiter. While it does not, calls do not queue up behind it.
  bool gets_answers REDLATCH_GUARDED_BY(wait_mutex) = true;
  // A thread that has waited here holds the lock: from when it leaves the queue with the lock until
  // the lock is given up at the server. The server grants it to no one meanwhile.
  bool held_here REDLATCH_GUARDED_BY(wait_mutex) = false;
};

/// The queues of a client's threads, one for each key that a thread waits for. A lock that no other
/// thread of the client wants costs nothing here but a look at one counter.
///
/// # Who is woken, and how
///
/// A waiter sleeps on its own baton or, as the listener, in a poll of the subscription. A wake-up
/// carries no meaning: the waiter looks at its members (`is_first_`, `has_lease_`, `news_`) and
/// decides anew what to do. Each cause has one function:
///
/// | cause | function | woken |
/// | --- | --- | --- |
/// | a release in this process hands its lease over | `hand_over` | the first, with the lease |
/// | a release in this process went to the server | `wake_first` | the first |
/// | the waiter in front leaves | `LocalWaiter::leave` | the next, if it has to act at once |
/// | a stop is requested | `LocalWaiter::wake` | that waiter |
/// | a message of the server | `GrantListener::deliver` | each waiter that the message is for |
/// | messages may be missing | `GrantListener::note_change_of_all` | each waiter with an entry |
/// | the listener leaves | `GrantListener::appoint_listener` | one waiter, to listen |
///
/// `prepare_wake` and `GrantListener::wake` choose between the two ways to sleep: the listener is
/// woken by `event_fd_`, every other waiter by its baton. The first four causes post the baton
/// after the mutex is released, so that the waiter does not wake up only to wait for the mutex. The
/// listener's three post it with the mutex held, as they have many waiters to look at. Each post is
/// counted in `posts_`, and `leave` takes all of them before the waiter is destroyed.
///
/// No wake-up is needed for a wait to end: `wait` ends by the time of the next refresh, and
/// `wait_in_line` looks for itself after 100 ms and then every 10 s.
///
/// # Locking
///
/// One mutex guards all queues, their waiters and the grant listeners. It is the first to be taken:
/// `renew` and the listener's `Help` take those of `Background`, `Notifier` and `Renewer` under it,
/// and `give_back`, which uses a connection, is called without it.
class WaitQueues final : public EventSource {
 public:
  /// Gives a kept lease the schedule of another lock; false when the lease is lost.
  using Renew = std::function<bool(Lease& lease, const RenewalSchedule& schedule)>;

  /// The settings of the node that has a key. They outlive the queues.
  using NodeOf = std::function<const Settings&(std::string_view key)>;

  WaitQueues(NodeOf node_of, Renew renew, GrantListener::Help help)
      : node_of_(std::move(node_of)), renew_(std::move(renew)), help_(std::move(help)) {
    help_.is_for_another = [this](const Subscription::Message& message)
                               REDLATCH_REQUIRES(wait_mutex) { return is_for_any(message); };
  }
  WaitQueues(const WaitQueues&) = delete;
  WaitQueues& operator=(const WaitQueues&) = delete;
  ~WaitQueues() override = default;

  std::unique_ptr<Waiter> enter(std::string_view key, const LockOptions& wanted, QueueMode where);
  /// Whether a thread waits for the key and the server answers it, so that another acquisition has
  /// to queue up behind it.
  bool is_waited_for(std::string_view key) const noexcept;
  /// Whether an acquisition had to wait for the key at the server within the last 100 ms. The next
  /// one then queues up at the server at once, instead of asking for the lock first.
  bool is_contended(std::string_view key) const noexcept;
  std::size_t size() const noexcept { return size_; }

  /// Passes a lease on to the first waiter for its key, and empties `lease`. False when there is no
  /// waiter, when its options ask for another lease, or when it is the turn of other processes.
  bool hand_over(std::string_view key, LeasePtr& lease, const LockOptions& given) noexcept;
  /// The lock was given up at the server: wakes the first waiter, which asks for it.
  void wake_first(std::string_view key) noexcept;

  // The subscriptions, for the background thread.
  void add_sources(std::vector<Source>& sources) const override;
  void receive_available() noexcept override;
  void drop() noexcept override;

  // Around fork(2): the threads of the parent that wait do not exist in the child.
  void before_fork() REDLATCH_ACQUIRE(wait_mutex) { mutex().lock(); }
  void after_fork_in_parent() REDLATCH_RELEASE(wait_mutex) { mutex().unlock(); }
  void after_fork_in_child() noexcept REDLATCH_RELEASE(wait_mutex);

 private:
  friend LocalWaiter;
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };

  struct NodeListener {
    NodeListener(const Settings& its_node, const GrantListener::Help& help, Mutex& mutex)
        : node(its_node), listener(its_node, help, mutex) {}

    const Settings& node;
    GrantListener listener;
  };

  Mutex& mutex() const noexcept REDLATCH_RETURN_CAPABILITY(wait_mutex) { return mutex_; }
  /// Throws `std::bad_alloc`.
  GrantListener& listener_of(std::string_view key) REDLATCH_REQUIRES(wait_mutex);
  bool is_for_any(const Subscription::Message& message) noexcept REDLATCH_REQUIRES(wait_mutex);
  WaitQueue* find(std::string_view key) noexcept REDLATCH_REQUIRES(wait_mutex);
  static bool fits(const Lease& lease, const LockOptions& given, const LockOptions& wanted,
                   TimePoint now) noexcept;
  static Baton* prepare_wake(LocalWaiter& waiter) noexcept REDLATCH_REQUIRES(wait_mutex);
  void note_contention(std::string_view key, bool had_to_wait) noexcept
      REDLATCH_REQUIRES(wait_mutex);

  const NodeOf node_of_;
  const Renew renew_;
  GrantListener::Help help_;
  std::atomic<std::size_t> size_ = 0;         // waiters in all queues, and those that wait alone
  std::atomic<bool> any_contention_ = false;  // since the client began

  mutable Mutex mutex_{};
  std::unordered_map<std::string, WaitQueue, Hash, std::equal_to<>> by_key_
      REDLATCH_GUARDED_BY(wait_mutex){};
  /// A key that was contended for, by its hash, until 100 ms later. Another key with the same hash
  /// only takes the slower way, by the queue.
  struct Contention {
    std::size_t key = 0;
    TimePoint until{};
  };
  std::array<Contention, 16> contentions_ REDLATCH_GUARDED_BY(wait_mutex){};
  /// One for each node on which a thread has waited.
  std::list<NodeListener> listeners_ REDLATCH_GUARDED_BY(wait_mutex){};
};

}  // namespace redlatch::detail
