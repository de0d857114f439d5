#include "wait/local_waiter.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <string>
#include <utility>

#include "wait/wait_queues.hpp"

namespace redlatch::detail {

namespace {

/// How long a waiter in line looks by itself whether it has become the first.
constexpr std::chrono::milliseconds brief{100};
/// Maximum delay that a missed wake-up would cost.
constexpr std::chrono::seconds idle_bound{10};

}  // namespace

/// `key_` refers to the key in the map, which outlives the waiter: the last waiter of a queue
/// removes it. Throws `std::bad_alloc`, with no effect.
LocalWaiter::LocalWaiter(WaitQueues& queues, std::string_view key, const LockOptions& wanted,
                         QueueMode where)
    : queues_(queues), wanted_(wanted), key_(key) {
  if (where == QueueMode::alone) {
    is_first_ = true;
    ++queues_.size_;
    return;
  }
  const MutexLock lock(queues_.mutex());
  auto found = queues_.by_key_.find(key);
  if (found == queues_.by_key_.end()) found = queues_.by_key_.try_emplace(std::string(key)).first;
  queue_ = &found->second;
  key_ = found->first;
  try {
    self_ = queue_->waiters.insert(queue_->waiters.end(), this);
  } catch (...) {
    if (queue_->waiters.empty()) queues_.by_key_.erase(found);
    throw;
  }
  is_first_ = queue_->waiters.front() == this;
  ++queues_.size_;
}

void LocalWaiter::wait(TimePoint end, const std::stop_token& stop) {
  const std::stop_callback stopping(stop, [this] { wake(); });
  {
    const MutexLock lock(queues_.mutex());
    assert(posts_taken_ <= posts_);
    // A post that was not taken yet is a reason to look at once; as the listener, this waiter would
    // not see it.
    const bool has_posts = posts_taken_ < posts_;
    if (entry_ && listens() && !has_posts && listener_->can_listen()) {
      if (listener_->listen(*this, end)) return;
    }
  }
  sleep(end);
}

void LocalWaiter::wake() noexcept {
  MutexLock lock(queues_.mutex());
  Baton* const baton = WaitQueues::prepare_wake(*this);
  lock.unlock();
  if (baton != nullptr) baton->post();
}

/// Where a lock changes hands quickly, a thread that takes it does not wake the next waiter, which
/// will have the lock handed over in a moment. So at first a waiter looks by itself after 100 ms
/// whether it has become the first. After that it is idle, and the waiter that leaves the place in
/// front of it wakes it.
void LocalWaiter::wait_in_line(TimePoint end, const std::stop_token& stop) {
  const std::stop_callback stopping(stop, [this] { wake(); });
  const int taken = posts_taken_;
  sleep(std::min(end, BootClock::now() + brief));
  if (posts_taken_ > taken || BootClock::now() >= end || !begin_idling()) return;
  sleep(std::min(end, BootClock::now() + idle_bound));
  const MutexLock lock(queues_.mutex());
  is_idle_ = false;
}

/// False when this waiter has become the first meanwhile.
bool LocalWaiter::begin_idling() noexcept {
  const MutexLock lock(queues_.mutex());
  is_idle_ = !is_first_;
  return is_idle_;
}

void LocalWaiter::sleep(TimePoint end) noexcept {
  if (baton_.wait_until(end)) ++posts_taken_;
}

bool LocalWaiter::listens() const noexcept { return queue_ == nullptr || !queue_->held_here; }

void LocalWaiter::note_answers(bool come) noexcept {
  if (queue_ == nullptr) return;
  const MutexLock lock(queues_.mutex());
  queue_->gets_answers = come;
}

GrantAddress LocalWaiter::address(TimePoint latest, const std::stop_token& stop) {
  const MutexLock lock(queues_.mutex());
  for (;;) {
    GrantListener& listener = queues_.listener_of(key_);
    if (entry_ && listener_ != &listener) listener_->move(*this, listener);
    listener_ = &listener;
    GrantAddress address = listener.address(key_, latest, stop);
    // The attempt to subscribe may have found out that the key is at another node.
    if (!address.channel.empty() || &queues_.listener_of(key_) == &listener) return address;
  }
}

void LocalWaiter::refuse_queue() noexcept {
  const MutexLock lock(queues_.mutex());
  if (listener_ != nullptr) listener_->refuse();
}

void LocalWaiter::enter(LeasePtr entry) noexcept {
  const MutexLock lock(queues_.mutex());
  listener_->add(*this, std::move(entry));
}

LeasePtr LocalWaiter::withdraw(Ending how) noexcept {
  const MutexLock lock(queues_.mutex());
  listener_->read_before_judging(how);
  queues_.note_contention(key_, how == Ending::notified || is_granted());
  return listener_->remove(*this, how);
}

/// Takes this waiter out of its queue. The first of the queue then, if it was this one before.
LocalWaiter* LocalWaiter::leave_queue(bool holds) noexcept {
  if (queue_ == nullptr) return nullptr;
  queue_->waiters.erase(self_);
  if (holds) queue_->held_here = true;
  assert(is_first_ || !queue_->waiters.empty());
  return is_first_ && !queue_->waiters.empty() ? queue_->waiters.front() : nullptr;
}

Waiter::Left LocalWaiter::leave(bool held) noexcept {
  Left left;
  Baton* baton = nullptr;
  MutexLock lock(queues_.mutex());
  assert(queues_.size_ > 0);
  --queues_.size_;
  // A lease that was handed over in this moment is the caller's to take or to give back.
  const bool holds = held || has_lease_;
  LocalWaiter* const next = leave_queue(holds);
  if (entry_) {
    const bool is_inherited =
        next != nullptr && wanted_.ttl == next->wanted_.ttl && wanted_.label == next->wanted_.label;
    if (is_inherited) {
      next->listener_ = listener_;
      listener_->pass_on(*this, *next);
    } else {
      left.entry = listener_->remove(*this, Ending::settled);
    }
  }
  if (next != nullptr) next->is_first_ = true;  // last, as `next` reads its entry from now on
  if (queue_ != nullptr && queue_->waiters.empty())
    queues_.by_key_.erase(queues_.by_key_.find(key_));
  if (next != nullptr && (!holds || next->is_idle_)) baton = WaitQueues::prepare_wake(*next);
  const int posts = posts_;
  lock.unlock();
  if (baton != nullptr) baton->post();
  // Other threads may be between the count and the post: the baton lives until all have posted.
  for (; posts_taken_ < posts; ++posts_taken_) baton_.wait();
  left.lease = std::move(lease_);
  return left;
}

}  // namespace redlatch::detail
