#include "background/renewer.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include <redlatch/detail/quorum_reply.hpp>

namespace redlatch::detail {
namespace {

/// So many are picked at once: who takes one back may have to wait for that.
constexpr std::size_t max_picked = 256;

/// Renewals that are due a little later go with the others.
std::chrono::nanoseconds slack(const Lease& lease) noexcept { return lease.ttl() / 100; }

}  // namespace

Lease& Renewer::open(RoutePin route) {
  if (Entry* const entry = aside_.exchange(nullptr)) {
    assert(!entry->awaits_answer && !entry->picked);
    entry->index = Place::own;
    entry->is_told = false;
    entry->route = std::move(route);
    return *entry;
  }
  const MutexLock lock(mutex_);
  if (spare_.empty()) {
    tries_.reserve(entries_ + 1);
    losses_.reserve(entries_ + 1);
    spare_.emplace_back();
    ++entries_;
    spare_.front().self = spare_.begin();
  }
  Entry& entry = spare_.front();
  assert(entry.index == Place::spare && !entry.awaits_answer && !entry.picked);
  entry.is_told = false;
  entry.is_free = true;
  move(entry, Place::own);
  entry.route = std::move(route);
  return entry;
}

void Renewer::close(Lease& lease) noexcept {
  Entry& entry = entry_of(lease);
  if (put_aside(entry)) return;
  const MutexLock lock(mutex_);
  entry.lost() = std::stop_source(std::nostopstate);
  move(entry, entry.awaits_answer ? Place::closed : Place::spare);
}

/// A short section needs a tenure for a moment, and then the next one does.
bool Renewer::put_aside(Entry& entry) noexcept {
  if (!entry.is_free) return false;
  entry.route = {};
  entry.lost() = std::stop_source(std::nostopstate);
  Entry* none = nullptr;
  return aside_.compare_exchange_strong(none, &entry);
}

bool Renewer::keep(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  entry.next_try = next_renewal(entry);
  entry.is_suspended = entry.is_free = false;
  if (entry.is_lost()) {
    if (entry.is_told) return false;
    move(entry, Place::lost);
    return true;
  }
  move(entry, Place::kept);
  const TimePoint before = due_;
  look_at(entry);
  return due_ < before;
}

void Renewer::suspend(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  await_picked_up(entry);
  entry.next_try = TimePoint::max();
  entry.is_suspended = true;
  tries_.remove(entry);
}

void Renewer::await_picked_up(const Entry& entry) noexcept {
  while (entry.picked) mutex_.wait(picked_up_);
}

bool Renewer::pause_renewal(Lease& lease, Place to) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  await_picked_up(entry);
  move(entry, to);
  entry.is_free = to == Place::over && !entry.awaits_answer;
  return entry.is_told;
}

Renewer::HandedOver Renewer::hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  await_picked_up(entry);
  if (entry.index != Place::kept || entry.is_lost()) return HandedOver::no;
  entry.renew_for(schedule);
  entry.lost() = std::stop_source(std::nostopstate);
  entry.next_try = next_renewal(entry);
  const TimePoint before = due_;
  look_at(entry);
  return due_ < before ? HandedOver::yes_and_sooner : HandedOver::yes;
}

std::stop_token Renewer::lost_token(Lease& lease) {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  if (!entry.lost().stop_possible()) {
    entry.lost() = std::stop_source();
    // It may have been told already.
    if (entry.is_lost() && entry.index == Place::own) entry.lost().request_stop();
  }
  return entry.lost().get_token();
}

std::span<Lease* const> Renewer::pick(TimePoint now) {
  const MutexLock lock(mutex_);
  assert(picked_.empty());
  picked_.reserve(max_picked);
  find_losses(now);
  while (!tries_.empty() && picked_.size() < max_picked) {
    Entry& entry = tries_.first();
    assert(entry.index == Place::kept && !entry.awaits_answer && !entry.is_suspended);
    if (entry.is_lost()) {
      move(entry, Place::lost);
      continue;
    }
    if (entry.next_try - slack(entry) > now) break;
    entry.picked = entry.awaits_answer = true;
    tries_.remove(entry);
    ++awaited_;
    picked_.push_back(&entry);
  }
  due_ = tries_.first_due();
  return picked_;
}

void Renewer::find_losses(TimePoint now) noexcept {
  while (losses_.first_due() <= now) {
    Entry& entry = losses_.first();
    if (now >= entry.notify_loss_at()) entry.lose();
    if (entry.is_lost()) {
      move(entry, Place::lost);
    } else {
      losses_.put(entry, entry.notify_loss_at());
    }
  }
}

void Renewer::picked_up() noexcept {
  {
    const MutexLock lock(mutex_);
    for (Lease* lease : picked_) entry_of(*lease).picked = false;
    picked_.clear();
    if (!lost_.empty()) wake_notifier(TimePoint{});
  }
  picked_up_.notify_all();
}

/// One that was picked has to wait: the background thread reads what it is about.
Renewer::Entries::iterator Renewer::next_lost() noexcept {
  return std::find_if(lost_.begin(), lost_.end(), [](const Entry& entry) { return !entry.picked; });
}

std::optional<Loss> Renewer::next_loss(TimePoint now) noexcept {
  const MutexLock lock(mutex_);
  find_losses(now);
  const auto next = next_lost();
  if (next == lost_.end()) return std::nullopt;
  Entry& entry = *next;
  move(entry, Place::own);
  entry.is_told = true;
  return Loss{.notified = entry.lost(), .key = entry.take_key(), .since = entry.schedule().since};
}

TimePoint Renewer::due() const noexcept {
  const MutexLock lock(mutex_);
  return due_;
}

TimePoint Renewer::next_loss_at() noexcept {
  const MutexLock lock(mutex_);
  notice_ = next_lost() == lost_.end() ? losses_.first_due() : TimePoint{};
  return notice_;
}

void Renewer::wake_notifier(TimePoint loss_margin) noexcept {
  if (loss_margin >= notice_) return;
  notice_ = loss_margin;
  if (notifier_ != nullptr) notifier_->signal();
}

TimePoint Renewer::first_loss() const noexcept {
  const MutexLock lock(mutex_);
  return losses_.first_due();
}

std::size_t Renewer::held() const {
  const MutexLock lock(mutex_);
  return kept_.size();
}

bool Renewer::awaits_answers() const noexcept {
  const MutexLock lock(mutex_);
  return awaited_ > 0;
}

Renewer::Answered Renewer::answered(const PendingRenewal& renewal, const protocol::Reply& reply,
                                    TimePoint sent, TimePoint now) noexcept {
  const protocol::Vote vote = protocol::ours(reply);
  if (vote == protocol::Vote::refused) {
    // On no connection that is known, as the error may be that of a proxy.
    const Sent doubted{protocol::leaves_script_in_doubt(reply.text) ? sent : TimePoint{}};
    return failed(*renewal.lease, renewal.ttl, doubted, now) ? Answered::counted
                                                             : Answered::too_late;
  }
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(*renewal.lease);
  answered(entry);
  if (!is_looked_after(entry)) return Answered::too_late;
  if (vote == protocol::Vote::no) {
    entry.lose();
  } else if (sent != TimePoint{}) {
    entry.confirm({sent, renewal.connection}, renewal.ttl);
  }
  if (entry.index != Place::kept) return Answered::counted;
  if (entry.is_lost()) {
    move(entry, Place::lost);
    return Answered::lost;
  }
  if (!entry.is_suspended) entry.next_try = next_renewal(entry);
  look_at(entry);
  return Answered::counted;
}

void Renewer::learn(const PendingRenewal& renewal, std::span<const Response> responses) noexcept {
  const MutexLock lock(mutex_);
  if (!is_looked_after(entry_of(*renewal.lease))) return;
  QuorumReply::learn_extended(*renewal.lease, responses, renewal.ttl, protocol::ours);
}

bool Renewer::failed(Lease& lease, std::chrono::milliseconds ttl, Sent sent,
                     TimePoint now) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  answered(entry);
  if (!is_looked_after(entry)) return false;
  if (sent.at != TimePoint{}) entry.doubt(sent, ttl);
  if (entry.index != Place::kept) return true;
  if (!entry.is_suspended) {
    // Often enough before the validity ends, and not in a hurry.
    const auto pause =
        std::max<std::chrono::nanoseconds>(entry.ttl() / 30, std::chrono::milliseconds(1));
    const TimePoint again = now + pause;
    entry.next_try = again < entry.schedule().renew_until ? again : TimePoint::max();
  }
  look_at(entry);
  return true;
}

bool Renewer::is_wanted(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  if (entry.index != Place::over && entry.index != Place::closed) return true;
  answered(entry);
  return false;
}

void Renewer::superseded(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  answered(entry);
  if (entry.index != Place::kept) return;
  if (!entry.is_suspended) entry.next_try = next_renewal(entry);
  look_at(entry);
}

/// The loss of the others has been told, or the lock has been given up.
bool Renewer::is_looked_after(const Entry& entry) noexcept {
  return entry.index == Place::kept || (entry.index == Place::own && !entry.is_told);
}

/// Whose lock is gone is nobody's from now on.
void Renewer::answered(Entry& entry) noexcept {
  assert(entry.awaits_answer && awaited_ > 0);
  entry.awaits_answer = false;
  --awaited_;
  if (entry.index == Place::closed) move(entry, Place::spare);
}

/// A little before the time that the lease itself counts: many that were taken, or renewed, at once
/// are not due at once for ever. Marsaglia's xorshift is good enough for that.
TimePoint Renewer::next_renewal(const Entry& entry) noexcept {
  const TimePoint latest = entry.renew_at();
  if (latest == TimePoint::max()) return latest;
  random_ ^= random_ << 13U;
  random_ ^= random_ >> 7U;
  random_ ^= random_ << 17U;
  constexpr int shares = 1024;
  const std::chrono::nanoseconds share = std::chrono::nanoseconds(entry.ttl()) / 30 / shares;
  return latest - share * static_cast<int>(random_ % shares);
}

/// Has the thread look when there is something to do for an entry that is kept.
void Renewer::look_at(Entry& entry) noexcept {
  assert(entry.index == Place::kept);
  const TimePoint loss_margin = entry.notify_loss_at();
  losses_.put(entry, loss_margin);
  wake_notifier(loss_margin);
  if (entry.awaits_answer || entry.next_try == TimePoint::max()) return tries_.remove(entry);
  tries_.put(entry, entry.next_try);
  due_ = std::min(due_, entry.next_try);
}

Renewer::Entries& Renewer::list_for(Place index) noexcept {
  switch (index) {
    case Place::spare:
      return spare_;
    case Place::kept:
      return kept_;
    case Place::lost:
      return lost_;
    default:
      return own_;
  }
}

void Renewer::move(Entry& entry, Place to) noexcept {
  assert(spare_.size() + own_.size() + kept_.size() + lost_.size() == entries_);
  assert(losses_.size() == kept_.size() && tries_.size() <= kept_.size());
  assert(!entry.awaits_answer || to != Place::spare);
  if (entry.index == Place::kept && to != Place::kept) {
    tries_.remove(entry);
    losses_.remove(entry);
  }
  Entries& target = list_for(to);
  // The spare ones are used again while they are warm.
  target.splice(to == Place::spare ? target.begin() : target.end(), list_for(entry.index),
                entry.self);
  entry.index = to;
  if (to == Place::spare) entry.route = {};
  if (to == Place::lost) wake_notifier(TimePoint{});
}

void Renewer::after_fork_in_child() noexcept {
  tries_.clear();
  losses_.clear();
  own_.splice(own_.end(), kept_);
  own_.splice(own_.end(), lost_);
  for (auto next = own_.begin(); next != own_.end();) {
    Entry& entry = *next++;
    const bool closed = entry.index == Place::closed;
    entry.picked = entry.awaits_answer = entry.is_free = false;
    entry.unlock_after_fork();
    entry.index = Place::own;
    if (closed) move(entry, Place::spare);
  }
  std::construct_at(&picked_up_);
  picked_.clear();
  awaited_ = 0;
  due_ = notice_ = TimePoint::max();
  mutex_.unlock();
}

}  // namespace redlatch::detail
