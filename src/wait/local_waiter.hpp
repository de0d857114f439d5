#pragma once

#include <atomic>
#include <list>
#include <stop_token>
#include <string_view>

#include <redlatch/detail/executor.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/options.hpp>

#include "base/baton.hpp"
#include "base/mutex.hpp"
#include "wait/wait_mutex.hpp"

namespace redlatch::detail {

class WaitQueues;
struct WaitQueue;

/// One place in a queue of a waiting room. The room's mutex guards what others change.
class LocalWaiter final : public Waiter {
 public:
  LocalWaiter(WaitQueues& room, std::string_view key, const LockOptions& wanted, QueueMode where);
  LocalWaiter(const LocalWaiter&) = delete;
  LocalWaiter& operator=(const LocalWaiter&) = delete;
  ~LocalWaiter() override = default;

  bool is_first() const noexcept override { return is_first_; }
  bool has_lease() const noexcept override { return has_lease_; }
  void wait(TimePoint end, const std::stop_token& stop) override;
  void wait_in_line(TimePoint end, const std::stop_token& stop) override;
  void note_answers(bool come) noexcept override;
  Address address(TimePoint latest, const std::stop_token& stop) override;
  void refuse_queue() noexcept override;
  void enter(LeasePtr entry) noexcept override;
  Lease* entry() const noexcept override { return entry_.get(); }
  bool is_granted() const noexcept override { return (news_ & granted) != 0; }
  bool has_news() const noexcept override { return news_ != 0; }
  void forget_changes() noexcept override { news_ &= granted; }
  LeasePtr withdraw(Ending how) noexcept override;
  Left leave(bool held) noexcept override;

 private:
  friend WaitQueues;
  friend class GrantListener;

  /// Whether it would listen now: nobody is told of a lock that a neighbour has.
  bool listens() const noexcept REDLATCH_REQUIRES(wait_mutex);
  LocalWaiter* make_room(bool holds) noexcept REDLATCH_REQUIRES(wait_mutex);
  void wake() noexcept REDLATCH_EXCLUDES(wait_mutex);
  void sleep(TimePoint end) noexcept REDLATCH_EXCLUDES(wait_mutex);
  bool begin_idling() noexcept;

  static constexpr unsigned granted = 1;
  static constexpr unsigned changed = 2;

  WaitQueues& room_;
  const LockOptions& wanted_;
  std::string_view key_;
  WaitQueue* queue_ = nullptr;  // none: by itself
  std::list<LocalWaiter*>::iterator self_{};
  std::atomic<bool> is_first_ = false;
  std::atomic<bool> has_lease_ = false;
  // Sleeps until it is woken, since nothing has happened for a while.
  bool is_idle_ REDLATCH_GUARDED_BY(wait_mutex) = false;
  LeasePtr lease_{};

  LeasePtr entry_{};
  // Is in the list of those who have an entry, or here.
  std::list<LocalWaiter*> node_ REDLATCH_GUARDED_BY(wait_mutex){this};
  std::list<LocalWaiter*>::iterator stands_ = node_.begin();
  std::atomic<unsigned> news_ = 0;

  Baton baton_{};
  // Are promised under the mutex, and all taken before this goes.
  int posts_ REDLATCH_GUARDED_BY(wait_mutex) = 0;
  int posts_taken_ = 0;
};

}  // namespace redlatch::detail
