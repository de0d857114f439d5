#include "background/renewer.hpp"

#include <algorithm>
#include <utility>

#include <redlatch/detail/answers.hpp>

namespace redlatch::detail {
namespace {

/// So many are picked at once: who takes one back may have to wait for that.
constexpr std::size_t max_picked = 256;

/// Renewals that are due a little later go with the others.
std::chrono::nanoseconds slack(const Tenure& tenure) noexcept { return tenure.ttl() / 100; }

}  // namespace

Tenure& Renewer::open(RoutePin route) {
  if (Entry* const entry = aside_.exchange(nullptr)) {
    entry->place = Place::own;
    entry->is_told = false;
    entry->route = std::move(route);
    return *entry;
  }
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) {
    tries_.reserve(entries_ + 1);
    notices_.reserve(entries_ + 1);
    spare_.emplace_back();
    ++entries_;
    spare_.front().self = spare_.begin();
  }
  Entry& entry = spare_.front();
  entry.is_told = false;
  entry.is_free = true;
  move(entry, Place::own);
  entry.route = std::move(route);
  return entry;
}

void Renewer::close(Tenure& tenure) noexcept {
  Entry& entry = entry_of(tenure);
  if (put_aside(entry)) return;
  const std::lock_guard lock(mutex_);
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

bool Renewer::keep(Tenure& tenure) noexcept {
  const std::lock_guard lock(mutex_);
  Entry& entry = entry_of(tenure);
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

void Renewer::suspend(Tenure& tenure) noexcept {
  std::unique_lock lock(mutex_);
  Entry& entry = entry_of(tenure);
  picked_up_.wait(lock, [&] { return !entry.picked; });
  entry.next_try = TimePoint::max();
  entry.is_suspended = true;
  tries_.remove(entry);
}

bool Renewer::take_back(Tenure& tenure, Place to) noexcept {
  std::unique_lock lock(mutex_);
  Entry& entry = entry_of(tenure);
  picked_up_.wait(lock, [&] { return !entry.picked; });
  move(entry, to);
  entry.is_free = to == Place::over && !entry.awaits_answer;
  return entry.is_told;
}

Renewer::HandedOver Renewer::hand_over(Tenure& tenure, const Upkeep& upkeep) noexcept {
  std::unique_lock lock(mutex_);
  Entry& entry = entry_of(tenure);
  picked_up_.wait(lock, [&] { return !entry.picked; });
  if (entry.place != Place::kept || entry.is_lost()) return HandedOver::no;
  entry.renew_for(upkeep);
  entry.lost() = std::stop_source(std::nostopstate);
  entry.next_try = next_renewal(entry);
  const TimePoint before = due_;
  look_at(entry);
  return due_ < before ? HandedOver::yes_and_sooner : HandedOver::yes;
}

std::stop_token Renewer::lost_token(Tenure& tenure) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entry_of(tenure);
  if (!entry.lost().stop_possible()) {
    entry.lost() = std::stop_source();
    // It may have been told already.
    if (entry.is_lost() && entry.place == Place::own) entry.lost().request_stop();
  }
  return entry.lost().get_token();
}

std::span<Tenure* const> Renewer::pick(TimePoint now) {
  const std::lock_guard lock(mutex_);
  picked_.reserve(max_picked);
  find_losses(now);
  while (!tries_.empty() && picked_.size() < max_picked) {
    Entry& entry = tries_.first();
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
  while (notices_.first_due() <= now) {
    Entry& entry = notices_.first();
    if (now >= entry.notice_at()) entry.lose();
    if (entry.is_lost()) {
      move(entry, Place::lost);
    } else {
      notices_.put(entry, entry.notice_at());
    }
  }
}

void Renewer::picked_up() noexcept {
  {
    const std::lock_guard lock(mutex_);
    for (Tenure* tenure : picked_) entry_of(*tenure).picked = false;
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
  const std::lock_guard lock(mutex_);
  find_losses(now);
  const auto next = next_lost();
  if (next == lost_.end()) return std::nullopt;
  Entry& entry = *next;
  move(entry, Place::own);
  entry.is_told = true;
  return Loss{.told = entry.lost(), .key = entry.take_key(), .since = entry.upkeep().since};
}

TimePoint Renewer::due() const noexcept {
  const std::lock_guard lock(mutex_);
  return due_;
}

TimePoint Renewer::next_notice() noexcept {
  const std::lock_guard lock(mutex_);
  notice_ = next_lost() == lost_.end() ? notices_.first_due() : TimePoint{};
  return notice_;
}

void Renewer::wake_notifier(TimePoint notice) noexcept {
  if (notice >= notice_) return;
  notice_ = notice;
  if (notifier_ != nullptr) notifier_->signal();
}

TimePoint Renewer::first_notice() const noexcept {
  const std::lock_guard lock(mutex_);
  return notices_.first_due();
}

std::size_t Renewer::held() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

bool Renewer::awaits_answers() const noexcept {
  const std::lock_guard lock(mutex_);
  return awaited_ > 0;
}

Renewer::Answered Renewer::answered(const Renewal& renewal, const protocol::Reply& reply,
                                    TimePoint sent, TimePoint now) noexcept {
  const protocol::Verdict verdict = protocol::ours(reply);
  if (verdict == protocol::Verdict::refused) {
    // On no connection that is known, as the error may be that of a proxy.
    const Sent doubted{protocol::leaves_script_in_doubt(reply.text) ? sent : TimePoint{}};
    return failed(*renewal.tenure, renewal.ttl, doubted, now) ? Answered::counted
                                                              : Answered::too_late;
  }
  const std::lock_guard lock(mutex_);
  Entry& entry = entry_of(*renewal.tenure);
  answered(entry);
  if (!is_looked_after(entry)) return Answered::too_late;
  if (verdict == protocol::Verdict::no) {
    entry.lose();
  } else if (sent != TimePoint{}) {
    entry.confirm({sent, renewal.connection}, renewal.ttl);
  }
  if (entry.place != Place::kept) return Answered::counted;
  if (entry.is_lost()) {
    move(entry, Place::lost);
    return Answered::lost;
  }
  if (!entry.is_suspended) entry.next_try = next_renewal(entry);
  look_at(entry);
  return Answered::counted;
}

void Renewer::learn(const Renewal& renewal, std::span<const Response> responses) noexcept {
  const std::lock_guard lock(mutex_);
  if (!is_looked_after(entry_of(*renewal.tenure))) return;
  Answers::learn_extended(*renewal.tenure, responses, renewal.ttl, protocol::ours);
}

bool Renewer::failed(Tenure& tenure, std::chrono::milliseconds ttl, Sent sent,
                     TimePoint now) noexcept {
  const std::lock_guard lock(mutex_);
  Entry& entry = entry_of(tenure);
  answered(entry);
  if (!is_looked_after(entry)) return false;
  if (sent.at != TimePoint{}) entry.doubt(sent, ttl);
  if (entry.place != Place::kept) return true;
  if (!entry.is_suspended) {
    // Often enough before the validity ends, and not in a hurry.
    const auto pause =
        std::max<std::chrono::nanoseconds>(entry.ttl() / 30, std::chrono::milliseconds(1));
    const TimePoint again = now + pause;
    entry.next_try = again < entry.upkeep().renew_until ? again : TimePoint::max();
  }
  look_at(entry);
  return true;
}

bool Renewer::is_wanted(Tenure& tenure) noexcept {
  const std::lock_guard lock(mutex_);
  Entry& entry = entry_of(tenure);
  if (entry.place != Place::over && entry.place != Place::closed) return true;
  answered(entry);
  return false;
}

void Renewer::superseded(Tenure& tenure) noexcept {
  const std::lock_guard lock(mutex_);
  Entry& entry = entry_of(tenure);
  answered(entry);
  if (entry.place != Place::kept) return;
  if (!entry.is_suspended) entry.next_try = next_renewal(entry);
  look_at(entry);
}

/// The loss of the others has been told, or the lock has been given up.
bool Renewer::is_looked_after(const Entry& entry) noexcept {
  return entry.place == Place::kept || (entry.place == Place::own && !entry.is_told);
}

/// Whose lock is gone is nobody's from now on.
void Renewer::answered(Entry& entry) noexcept {
  entry.awaits_answer = false;
  --awaited_;
  if (entry.place == Place::closed) move(entry, Place::spare);
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
  const TimePoint notice = entry.notice_at();
  notices_.put(entry, notice);
  wake_notifier(notice);
  if (entry.awaits_answer || entry.next_try == TimePoint::max()) return tries_.remove(entry);
  tries_.put(entry, entry.next_try);
  due_ = std::min(due_, entry.next_try);
}

Renewer::Entries& Renewer::list_for(Place place) noexcept {
  switch (place) {
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
  if (entry.place == Place::kept && to != Place::kept) {
    tries_.remove(entry);
    notices_.remove(entry);
  }
  Entries& target = list_for(to);
  // The spare ones are used again while they are warm.
  target.splice(to == Place::spare ? target.begin() : target.end(), list_for(entry.place),
                entry.self);
  entry.place = to;
  if (to == Place::spare) entry.route = {};
  if (to == Place::lost) wake_notifier(TimePoint{});
}

void Renewer::after_fork_in_child() noexcept {
  tries_.clear();
  notices_.clear();
  own_.splice(own_.end(), kept_);
  own_.splice(own_.end(), lost_);
  for (auto next = own_.begin(); next != own_.end();) {
    Entry& entry = *next++;
    const bool closed = entry.place == Place::closed;
    entry.picked = entry.awaits_answer = entry.is_free = false;
    entry.unlock_after_fork();
    entry.place = Place::own;
    if (closed) move(entry, Place::spare);
  }
  std::construct_at(&picked_up_);
  picked_.clear();
  awaited_ = 0;
  due_ = notice_ = TimePoint::max();
  mutex_.unlock();
}

}  // namespace redlatch::detail
