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

/// Those who wait for one key.
struct WaitQueue {
  std::list<LocalWaiter*> waiters REDLATCH_GUARDED_BY(wait_mutex){};
  bool gets_answers REDLATCH_GUARDED_BY(wait_mutex) = true;
  // By somebody who has waited here, so that the server grants it to nobody.
  bool held_here REDLATCH_GUARDED_BY(wait_mutex) = false;
};

/// The queues of a client's threads, one for each key that somebody waits for. Costs those nothing
/// who hold a lock that nobody else wants: they look at one counter.
class WaitQueues final : public EventSource {
 public:
  /// Has the lease looked after on other conditions from now on; false when it is lost.
  using Renew = std::function<bool(Lease& lease, const RenewalSchedule& schedule)>;

  WaitQueues(const Settings& settings, Renew renew, GrantListener::Help help)
      : renew_(std::move(renew)), grant_listener_(settings, std::move(help), mutex_) {}
  WaitQueues(const WaitQueues&) = delete;
  WaitQueues& operator=(const WaitQueues&) = delete;
  ~WaitQueues() override = default;

  std::unique_ptr<Waiter> enter(std::string_view key, const LockOptions& wanted, QueueMode where);
  /// Whether somebody waits for the key and gets answers.
  bool is_waited_for(std::string_view key) const noexcept;
  /// Whether somebody had to wait for it at the server so lately that it is hardly free.
  bool is_contended(std::string_view key) const noexcept;
  std::size_t size() const noexcept { return size_; }

  /// Passes a lease on to the first who waits for its key, if that one would take it as it is and
  /// the turn of other processes has not come. `lease` is empty then.
  bool hand_over(std::string_view key, LeasePtr& lease, const LockOptions& given) noexcept;
  /// The key was given up at the server: the first may ask for it.
  void wake_first(std::string_view key) noexcept;

  // Messages, while nobody who waits listens to them.
  Source source() const noexcept override;
  void receive_available() noexcept override;
  void drop() noexcept override;

  // Around fork(2): nobody of the parent's waits in the child.
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

  Mutex& mutex() const noexcept REDLATCH_RETURN_CAPABILITY(wait_mutex) { return mutex_; }
  WaitQueue* find(std::string_view key) noexcept REDLATCH_REQUIRES(wait_mutex);
  static bool fits(const Lease& lease, const LockOptions& given, const LockOptions& wanted,
                   TimePoint now) noexcept;
  Baton* prepare_wake(LocalWaiter& waiter) noexcept REDLATCH_REQUIRES(wait_mutex);
  void note_contention(std::string_view key, bool had_to_wait) noexcept
      REDLATCH_REQUIRES(wait_mutex);

  const Renew renew_;
  std::atomic<std::size_t> size_ = 0;
  std::atomic<bool> any_contention_ = false;

  mutable Mutex mutex_{};
  std::unordered_map<std::string, WaitQueue, Hash, std::equal_to<>> queues_
      REDLATCH_GUARDED_BY(wait_mutex){};
  /// Keys that have lately been contended for, by hash: another of the same costs a little time.
  struct Contention {
    std::size_t key = 0;
    TimePoint until{};
  };
  std::array<Contention, 16> contentions_ REDLATCH_GUARDED_BY(wait_mutex){};
  GrantListener grant_listener_ REDLATCH_GUARDED_BY(wait_mutex);
};

}  // namespace redlatch::detail
