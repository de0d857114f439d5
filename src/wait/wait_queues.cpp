#include "wait/wait_queues.hpp"

#include <chrono>
#include <optional>
#include <utility>

namespace redlatch::detail {

namespace {

// So often, and for so long, a lease is passed on inside one process before others have their turn.
constexpr int most_hand_overs = 16;
constexpr std::chrono::milliseconds longest_run{10};

// So long after somebody had to wait it is taken for granted that the next one has to.
constexpr std::chrono::milliseconds contended_for{100};

}  // namespace

std::unique_ptr<QueuePlace> WaitingRoom::enter(std::string_view key, const LockOptions& wanted,
                                               InLine where) {
  return std::make_unique<WaitingPlace>(*this, key, wanted, where);
}

WaitingQueue* WaitingRoom::find(std::string_view key) noexcept {
  const auto found = queues_.find(key);
  return found == queues_.end() ? nullptr : &found->second;
}

bool WaitingRoom::is_waited_for(std::string_view key) const noexcept {
  if (size_ == 0) return false;
  const std::lock_guard guard(mutex_);
  const auto found = queues_.find(key);
  return found != queues_.end() && found->second.gets_answers;
}

void WaitingRoom::note_contention(std::string_view key, bool had_to_wait) noexcept {
  if (!had_to_wait && !any_contention_) return;
  const std::size_t hash = Hash{}(key);
  contentions_[hash % contentions_.size()] = {
      hash, had_to_wait ? BootClock::now() + contended_for : TimePoint{}};
  any_contention_ = true;
}

bool WaitingRoom::is_contended(std::string_view key) const noexcept {
  if (!any_contention_) return false;
  const std::lock_guard guard(mutex_);
  const std::size_t hash = Hash{}(key);
  const Contention& contention = contentions_[hash % contentions_.size()];
  return contention.key == hash && BootClock::now() < contention.until && listening_.can_listen();
}

bool WaitingRoom::fits(const Tenure& tenure, const LockOptions& given, const LockOptions& wanted,
                       TimePoint now) noexcept {
  const Upkeep& upkeep = tenure.upkeep();
  return given.auto_renew && wanted.auto_renew && !wanted.fencing && upkeep.ttl == wanted.ttl &&
         given.label == wanted.label && given.durability == wanted.durability &&
         tenure.valid_until() - now >= upkeep.ttl / 2 && upkeep.handed_over < most_hand_overs &&
         (upkeep.handed_over == 0 || now - upkeep.first_handed_over < longest_run);
}

bool WaitingRoom::hand_over(std::string_view key, TenureOf& lease,
                            const LockOptions& given) noexcept {
  if (size_ == 0) return false;
  const TimePoint now = BootClock::now();
  Guard guard(mutex_);
  WaitingQueue* const queue = find(key);
  if (queue == nullptr) return false;
  WaitingPlace& first = *queue->places.front();
  if (first.has_lease_ || !fits(*lease, given, first.wanted_, now)) return false;
  const bool limited = first.wanted_.max_hold > std::chrono::milliseconds::zero();
  const Upkeep& before = lease->upkeep();
  const Upkeep upkeep{
      .ttl = before.ttl,
      .renews = true,
      .since = now,
      .renew_until = limited ? now + first.wanted_.max_hold : TimePoint::max(),
      .handed_over = before.handed_over + 1,
      .first_handed_over = before.handed_over == 0 ? now : before.first_handed_over};
  if (!renew_(*lease, upkeep)) return false;
  first.lease_ = std::move(lease);
  first.has_lease_ = true;
  wake(first, guard);
  return true;
}

void WaitingRoom::call_first(std::string_view key) noexcept {
  if (size_ == 0) return;
  Guard guard(mutex_);
  WaitingQueue* const queue = find(key);
  if (queue == nullptr) return;
  queue->held_here = false;
  wake(*queue->places.front(), guard);
}

/// Releases the mutex.
void WaitingRoom::wake(WaitingPlace& place, Guard& guard) noexcept {
  if (listening_.wake(place)) return guard.unlock();
  ++place.posts_;
  guard.unlock();
  place.turn_.post();
}

Watched::Source WaitingRoom::source() const noexcept {
  const Guard guard(mutex_);
  return listening_.source();
}

void WaitingRoom::take_in() noexcept {
  Guard guard(mutex_);
  listening_.take_in_idle(guard);
}

void WaitingRoom::drop() noexcept {
  const Guard guard(mutex_);
  listening_.drop();
}

void WaitingRoom::after_fork_in_child() noexcept {
  listening_.after_fork_in_child();
  queues_.clear();
  size_ = 0;
  mutex_.unlock();
}

}  // namespace redlatch::detail
