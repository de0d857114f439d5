#pragma once

#include <atomic>
#include <list>
#include <stop_token>
#include <string_view>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/thread_name.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/options.hpp>

#include "base/baton.hpp"
#include "base/mutex.hpp"
#include "wait/wait_mutex.hpp"

namespace redlatch::detail {

class GrantListener;
class WaitQueues;
struct WaitQueue;

/// One thread that waits for a key, in the `WaitQueue` of the key or alone. The mutex of the
/// `WaitQueues` guards the members that other threads change.
///
/// Atomic members are written under the mutex and read without it by the waiter's own thread,
/// before it sleeps. `lease_` and `entry_` are written under the mutex as well; the waiter's own
/// thread reads `lease_` once it has left the queue, and `entry_` once it is the first, when no
/// other thread writes them any more.
class LocalWaiter final : public Waiter {
 public:
  LocalWaiter(WaitQueues& queues, std::string_view key, const LockOptions& wanted, QueueMode where);
  LocalWaiter(const LocalWaiter&) = delete;
  LocalWaiter& operator=(const LocalWaiter&) = delete;
  ~LocalWaiter() override = default;

  bool is_first() const noexcept override { return is_first_; }
  bool has_lease() const noexcept override { return has_lease_; }
  void wait(TimePoint end, const std::stop_token& stop) override;
  void wait_in_line(TimePoint end, const std::stop_token& stop) override;
  void note_answers(bool come) noexcept override;
  GrantAddress address(TimePoint latest, const std::stop_token& stop) override;
  void refuse_queue() noexcept override;
  void enter(LeasePtr entry) noexcept override;
  Lease* entry() const noexcept override { return entry_.get(); }
  bool is_granted() const noexcept override { return (news_ & (granted | doubted)) == granted; }
  bool has_news() const noexcept override { return (news_ & changed) != 0 || is_granted(); }
  void forget_changes() noexcept override { news_ &= ~changed; }
  LeasePtr withdraw(Ending how) noexcept override;
  Left leave(bool held) noexcept override;

 private:
  friend WaitQueues;
  friend class GrantListener;

  /// Whether this waiter can be the listener: not while another thread of this client holds the
  /// lock, as the lock is then passed on inside the client, and the server grants it to no one.
  bool listens() const noexcept REDLATCH_REQUIRES(wait_mutex);
  /// Whether a grant has come, trusted or not.
  bool has_grant() const noexcept { return (news_ & granted) != 0; }
  LocalWaiter* leave_queue(bool holds) noexcept REDLATCH_REQUIRES(wait_mutex);
  /// Ends `wait` or `wait_in_line`, when a stop is requested.
  void wake() noexcept REDLATCH_EXCLUDES(wait_mutex);
  void sleep(TimePoint end) noexcept REDLATCH_EXCLUDES(wait_mutex);
  bool begin_idling() noexcept;

  static constexpr unsigned granted = 1;
  static constexpr unsigned changed = 2;
  static constexpr unsigned doubted = 4;  // the grant, which came from a server that is not trusted

  WaitQueues& queues_;
  const LockOptions& wanted_;
  std::string_view key_;
  const int thread_ = thread_number();
  WaitQueue* queue_ = nullptr;  // null: waits alone
  std::list<LocalWaiter*>::iterator self_{};
  std::atomic<bool> is_first_ = false;
  std::atomic<bool> has_lease_ = false;
  // Sleeps until it is woken: from 100 ms after it began to wait in line, until it wakes up. Before
  // that, a thread that leaves the queue with the lock need not wake it.
  bool is_idle_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  LeasePtr lease_{};  // passed on by another thread of this client, with `has_lease_`

  // That of the node which has the key, from the first `address` on.
  GrantListener* listener_ REDLATCH_GUARDED_BY(wait_mutex) = nullptr;
  /// The entry was made at another node, which may have lost it on the way.
  bool is_moved_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  LeasePtr entry_{};  // in the queue at the server; null: none
  // The node of this waiter for the listener's list. It is moved there and back with `entry_`, so
  // that this takes no memory and cannot fail.
  std::list<LocalWaiter*> node_ REDLATCH_GUARDED_BY(wait_mutex){this};
  std::list<LocalWaiter*>::iterator stands_ = node_.begin();
  std::atomic<unsigned> news_ = 0;  // of these, not looked at yet

  Baton baton_{};
  // Posts to the baton are counted under the mutex. `WaitQueues` makes them after it is released,
  // and the grant listener under it. `leave` waits for all of them, so that none comes to a waiter
  // that is gone.
  int posts_ REDLATCH_GUARDED_BY(wait_mutex) = 0;
  int posts_taken_ = 0;
};

}  // namespace redlatch::detail
