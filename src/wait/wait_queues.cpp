#include "wait/wait_queues.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <optional>
#include <utility>

namespace redlatch::detail {

namespace {

// Maximum number of times, and maximum time, for which a lease is passed on inside one process.
// After that it is released, so that other processes have their turn.
constexpr int max_hand_overs = 16;
constexpr std::chrono::milliseconds max_run{10};

// How long a key counts as contended for after an acquisition had to wait.
constexpr std::chrono::milliseconds contended_for{100};

}  // namespace

std::unique_ptr<Waiter> WaitQueues::enter(std::string_view key, const LockOptions& wanted,
                                          QueueMode where) {
  return std::make_unique<LocalWaiter>(*this, key, wanted, where);
}

WaitQueue* WaitQueues::find(std::string_view key) noexcept {
  const auto found = by_key_.find(key);
  assert(found == by_key_.end() || !found->second.waiters.empty());
  return found == by_key_.end() ? nullptr : &found->second;
}

bool WaitQueues::is_waited_for(std::string_view key) const noexcept {
  if (size_ == 0) return false;
  const MutexLock lock(mutex());
  const auto found = by_key_.find(key);
  return found != by_key_.end() && found->second.gets_answers;
}

/// Until a wait at the server has happened once, this costs a look at a flag.
void WaitQueues::note_contention(std::string_view key, bool had_to_wait) noexcept {
  if (!had_to_wait && !any_contention_) return;
  const std::size_t hash = Hash{}(key);
  contentions_[hash % contentions_.size()] = {
      hash, had_to_wait ? BootClock::now() + contended_for : TimePoint{}};
  any_contention_ = true;
}

bool WaitQueues::is_contended(std::string_view key) const noexcept {
  if (!any_contention_) return false;
  const MutexLock lock(mutex());
  const std::size_t hash = Hash{}(key);
  const Contention& contention = contentions_[hash % contentions_.size()];
  if (contention.key != hash || BootClock::now() >= contention.until) return false;
  const Settings& node = node_of_(key);
  return std::ranges::any_of(listeners_,
                             [&](const NodeListener& one) REDLATCH_REQUIRES(wait_mutex) {
                               return &one.node == &node && one.listener.can_listen();
                             });
}

GrantListener& WaitQueues::listener_of(std::string_view key) {
  const Settings& node = node_of_(key);
  for (NodeListener& one : listeners_) {
    if (&one.node == &node) return one.listener;
  }
  return listeners_.emplace_back(node, help_, mutex_).listener;
}

/// A grant may come from a node that had the key of a waiter before.
bool WaitQueues::is_for_any(const Subscription::Message& message) noexcept {
  return std::ranges::any_of(listeners_, [&](NodeListener& one) REDLATCH_REQUIRES(wait_mutex) {
    return one.listener.accept(message);
  });
}

/// Whether a lease with the options `given` is what a lock with the options `wanted` would have had
/// from the server. Half of the ttl has to be left, so that the next holder need not renew at once,
/// and the run of hand-overs must not be over, so that other processes have their turn. A fencing
/// token has to be drawn at the server.
bool WaitQueues::fits(const Lease& lease, const LockOptions& given, const LockOptions& wanted,
                      TimePoint now) noexcept {
  const RenewalSchedule& schedule = lease.schedule();
  return given.auto_renew && wanted.auto_renew && !wanted.fencing && schedule.ttl == wanted.ttl &&
         given.label == wanted.label && given.durability == wanted.durability &&
         lease.valid_until() - now >= schedule.ttl / 2 && schedule.handed_over < max_hand_overs &&
         (schedule.handed_over == 0 || now - schedule.first_handed_over < max_run);
}

bool WaitQueues::hand_over(std::string_view key, LeasePtr& lease,
                           const LockOptions& given) noexcept {
  if (size_ == 0) return false;
  const TimePoint now = BootClock::now();
  MutexLock lock(mutex());
  WaitQueue* const queue = find(key);
  if (queue == nullptr) return false;
  LocalWaiter& first = *queue->waiters.front();
  assert(first.is_first_);
  if (first.has_lease_ || !fits(*lease, given, first.wanted_, now)) return false;
  const bool limited = first.wanted_.max_hold > std::chrono::milliseconds::zero();
  const RenewalSchedule& before = lease->schedule();
  const RenewalSchedule schedule{
      .ttl = before.ttl,
      .renews = true,
      .since = now,
      .thread = first.thread_,
      .renew_until = limited ? now + first.wanted_.max_hold : TimePoint::max(),
      .handed_over = before.handed_over + 1,
      .first_handed_over = before.handed_over == 0 ? now : before.first_handed_over};
  if (!renew_(*lease, schedule)) return false;
  first.lease_ = std::move(lease);
  first.has_lease_ = true;
  Baton* const baton = prepare_wake(first);
  lock.unlock();
  if (baton != nullptr) baton->post();
  return true;
}

void WaitQueues::wake_first(std::string_view key) noexcept {
  if (size_ == 0) return;
  MutexLock lock(mutex());
  WaitQueue* const queue = find(key);
  if (queue == nullptr) return;
  queue->held_here = false;
  Baton* const baton = prepare_wake(*queue->waiters.front());
  lock.unlock();
  if (baton != nullptr) baton->post();
}

/// The baton to be posted once the mutex is released, so that the waiter does not wake up only to
/// wait for the mutex. Null when the waiter listens, and was woken by that.
Baton* WaitQueues::prepare_wake(LocalWaiter& waiter) noexcept {
  if (waiter.listener_ != nullptr && waiter.listener_->wake(waiter)) return nullptr;
  ++waiter.posts_;
  return &waiter.baton_;
}

void WaitQueues::add_sources(std::vector<Source>& sources) const {
  const MutexLock lock(mutex());
  for (const NodeListener& one : listeners_) one.listener.add_source(sources);
}

void WaitQueues::receive_available() noexcept {
  const MutexLock lock(mutex());
  for (NodeListener& one : listeners_) one.listener.receive_while_idle();
}

void WaitQueues::drop() noexcept {
  const MutexLock lock(mutex());
  for (NodeListener& one : listeners_) one.listener.drop();
}

// The waiters stand on the stacks of threads that do not exist here: they are forgotten, not freed.
void WaitQueues::after_fork_in_child() noexcept {
  for (NodeListener& one : listeners_) one.listener.after_fork_in_child();
  by_key_.clear();
  size_ = 0;
  mutex().unlock();
}

}  // namespace redlatch::detail
