#include "wait/local_waiter.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <string>
#include <utility>

#include "wait/wait_queues.hpp"

namespace redlatch::detail {

namespace {

constexpr std::chrono::milliseconds brief{100};
/// A wake-up that is missed costs no more than that.
constexpr std::chrono::seconds idle_bound{10};

}  // namespace

LocalWaiter::LocalWaiter(WaitQueues& room, std::string_view key, const LockOptions& wanted,
                         QueueMode where)
    : room_(room), wanted_(wanted), key_(key) {
  if (where == QueueMode::alone) {
    is_first_ = true;
    ++room_.size_;
    return;
  }
  const MutexLock lock(room_.mutex());
  auto found = room_.queues_.find(key);
  if (found == room_.queues_.end()) found = room_.queues_.try_emplace(std::string(key)).first;
  queue_ = &found->second;
  key_ = found->first;
  try {
    self_ = queue_->waiters.insert(queue_->waiters.end(), this);
  } catch (...) {
    if (queue_->waiters.empty()) room_.queues_.erase(found);
    throw;
  }
  is_first_ = queue_->waiters.front() == this;
  ++room_.size_;
}

void LocalWaiter::wait(TimePoint end, const std::stop_token& stop) {
  const std::stop_callback stopping(stop, [this] { wake(); });
  {
    const MutexLock lock(room_.mutex());
    assert(posts_taken_ <= posts_);
    const bool has_posts = posts_taken_ < posts_;
    if (entry_ && listens() && !has_posts && room_.grant_listener_.can_listen()) {
      if (room_.grant_listener_.listen(*this, end)) return;
    }
  }
  sleep(end);
}

void LocalWaiter::wake() noexcept {
  MutexLock lock(room_.mutex());
  Baton* const baton = room_.prepare_wake(*this);
  lock.unlock();
  if (baton != nullptr) baton->post();
}

/// Where the lock changes hands quickly, a thread that takes it does not wake the next waiter,
/// which will have it handed over in a moment. So at first each looks by itself whether it has
/// become the first; after that it sleeps until it is woken, and who leaves the place in front of
/// it does that.
void LocalWaiter::wait_in_line(TimePoint end, const std::stop_token& stop) {
  const std::stop_callback stopping(stop, [this] { wake(); });
  const int taken = posts_taken_;
  sleep(std::min(end, BootClock::now() + brief));
  if (posts_taken_ > taken || BootClock::now() >= end || !begin_idling()) return;
  sleep(std::min(end, BootClock::now() + idle_bound));
  const MutexLock lock(room_.mutex());
  is_idle_ = false;
}

/// False when it has become the first meanwhile.
bool LocalWaiter::begin_idling() noexcept {
  const MutexLock lock(room_.mutex());
  is_idle_ = !is_first_;
  return is_idle_;
}

void LocalWaiter::sleep(TimePoint end) noexcept {
  if (baton_.wait_until(end)) ++posts_taken_;
}

bool LocalWaiter::listens() const noexcept { return queue_ == nullptr || !queue_->held_here; }

void LocalWaiter::note_answers(bool come) noexcept {
  if (queue_ == nullptr) return;
  const MutexLock lock(room_.mutex());
  queue_->gets_answers = come;
}

Address LocalWaiter::address(TimePoint latest, const std::stop_token& stop) {
  const MutexLock lock(room_.mutex());
  return room_.grant_listener_.address(latest, stop);
}

void LocalWaiter::refuse_queue() noexcept {
  const MutexLock lock(room_.mutex());
  room_.grant_listener_.refuse();
}

void LocalWaiter::enter(LeasePtr entry) noexcept {
  const MutexLock lock(room_.mutex());
  room_.grant_listener_.add(*this, std::move(entry));
}

LeasePtr LocalWaiter::withdraw(Ending how) noexcept {
  const MutexLock lock(room_.mutex());
  room_.grant_listener_.read_before_judging(how);
  room_.note_contention(key_, how == Ending::notified || is_granted());
  return room_.grant_listener_.remove(*this, how);
}

/// Who is the first in the line then, if it was this one before.
LocalWaiter* LocalWaiter::make_room(bool holds) noexcept {
  if (queue_ == nullptr) return nullptr;
  queue_->waiters.erase(self_);
  if (holds) queue_->held_here = true;
  assert(is_first_ || !queue_->waiters.empty());
  return is_first_ && !queue_->waiters.empty() ? queue_->waiters.front() : nullptr;
}

Waiter::Left LocalWaiter::leave(bool held) noexcept {
  Left left;
  Baton* baton = nullptr;
  MutexLock lock(room_.mutex());
  assert(room_.size_ > 0);
  --room_.size_;
  const bool holds = held || has_lease_;
  LocalWaiter* const next = make_room(holds);
  if (entry_) {
    const bool is_inherited =
        next != nullptr && wanted_.ttl == next->wanted_.ttl && wanted_.label == next->wanted_.label;
    if (is_inherited) {
      room_.grant_listener_.pass_on(*this, *next);
    } else {
      left.entry = room_.grant_listener_.remove(*this, Ending::settled);
    }
  }
  if (next != nullptr) next->is_first_ = true;  // with its entry, which it may look at from now on
  if (queue_ != nullptr && queue_->waiters.empty()) room_.queues_.erase(room_.queues_.find(key_));
  if (next != nullptr && (!holds || next->is_idle_)) baton = room_.prepare_wake(*next);
  const int posts = posts_;
  lock.unlock();
  if (baton != nullptr) baton->post();
  for (; posts_taken_ < posts; ++posts_taken_) baton_.wait();
  left.lease = std::move(lease_);
  return left;
}

}  // namespace redlatch::detail
