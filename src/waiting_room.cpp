#include "waiting_room.hpp"

#include <chrono>
#include <optional>
#include <utility>

namespace redlatch::detail {

namespace {

// So often, and for so long, a lease is passed on inside one process before others have their turn.
constexpr int most_hand_overs = 16;
constexpr std::chrono::milliseconds longest_run{10};

}  // namespace

class WaitingRoom::Place final : public QueuePlace {
 public:
  Place(WaitingRoom& room, std::string_view key, const LockOptions& wanted)
      : room_(room), wanted_(wanted) {
    const Guard guard(room_.mutex_);
    auto found = room_.queues_.find(key);
    if (found == room_.queues_.end()) found = room_.queues_.try_emplace(std::string(key)).first;
    queue_ = &found->second;
    key_ = found->first;
    try {
      self_ = queue_->places.insert(queue_->places.end(), this);
    } catch (...) {
      if (queue_->places.empty()) room_.queues_.erase(found);
      throw;
    }
    is_first_ = queue_->places.front() == this;
    ++room_.size_;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() override = default;

  bool is_first() const noexcept override { return is_first_; }
  bool has_lease() const noexcept override { return has_lease_; }

  void wait(TimePoint end, const std::stop_token& stop) override {
    const std::stop_callback stopping(stop, [this] {
      Guard guard(room_.mutex_);
      wake(*this, guard);
    });
    if (turn_.wait_until(end)) ++posts_taken_;
  }

  void note_answers(bool come) noexcept override {
    const Guard guard(room_.mutex_);
    queue_->gets_answers = come;
  }

  TenureOf leave(bool held) noexcept override {
    Guard guard(room_.mutex_);
    queue_->places.erase(self_);
    --room_.size_;
    if (queue_->places.empty()) {
      room_.queues_.erase(room_.queues_.find(key_));
    } else if (is_first_) {
      Place& next = *queue_->places.front();
      next.is_first_ = true;
      if (!held && !has_lease_) wake(next, guard);
    }
    if (guard.owns_lock()) guard.unlock();
    while (posts_taken_ < posts_) {
      turn_.wait();
      ++posts_taken_;
    }
    return std::move(lease_);
  }

 private:
  friend WaitingRoom;

  WaitingRoom& room_;
  const LockOptions& wanted_;
  Queue* queue_ = nullptr;
  std::string_view key_{};
  std::list<Place*>::iterator self_{};
  std::atomic<bool> is_first_ = false;
  std::atomic<bool> has_lease_ = false;
  TenureOf lease_{};
  Turn turn_{};
  int posts_ = 0;  // are promised under the mutex, and all taken before this goes
  int posts_taken_ = 0;
};

std::unique_ptr<QueuePlace> WaitingRoom::enter(std::string_view key, const LockOptions& wanted) {
  return std::make_unique<Place>(*this, key, wanted);
}

WaitingRoom::Queue* WaitingRoom::find(std::string_view key) noexcept {
  const auto found = queues_.find(key);
  return found == queues_.end() ? nullptr : &found->second;
}

bool WaitingRoom::is_waited_for(std::string_view key) const noexcept {
  if (size_ == 0) return false;
  const std::lock_guard guard(mutex_);
  const auto found = queues_.find(key);
  return found != queues_.end() && found->second.gets_answers;
}

bool WaitingRoom::fits(const Tenure& tenure, const LockOptions& given, const LockOptions& wanted,
                       TimePoint now) noexcept {
  const Upkeep& upkeep = tenure.upkeep();
  return given.auto_renew && wanted.auto_renew && !wanted.fencing && upkeep.ttl == wanted.ttl &&
         given.label == wanted.label && given.durability == wanted.durability &&
         tenure.valid_until() - now >= upkeep.ttl / 2 && upkeep.handed_over < most_hand_overs &&
         (upkeep.handed_over == 0 || now - upkeep.first_handed_over < longest_run);
}

bool WaitingRoom::hand_over(std::string_view key, TenureOf& lease, const LockOptions& given,
                            TimePoint now) noexcept {
  if (size_ == 0) return false;
  Guard guard(mutex_);
  Queue* const queue = find(key);
  if (queue == nullptr) return false;
  Place& first = *queue->places.front();
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
  Queue* const queue = find(key);
  if (queue != nullptr) wake(*queue->places.front(), guard);
}

/// Releases the mutex.
void WaitingRoom::wake(Place& place, Guard& guard) noexcept {
  ++place.posts_;
  guard.unlock();
  place.turn_.post();
}

void WaitingRoom::after_fork_in_child() noexcept {
  queues_.clear();
  size_ = 0;
  mutex_.unlock();
}

}  // namespace redlatch::detail
