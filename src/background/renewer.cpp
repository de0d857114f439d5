#include "background/renewer.hpp"

#include <algorithm>
#include <cassert>
#include <new>
#include <string>
#include <utility>

#include <redlatch/detail/quorum_reply.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {
namespace {

/// Renewals that are due this much later go into the same batch.
std::chrono::nanoseconds slack(const Lease& lease) noexcept { return lease.ttl() / 100; }

}  // namespace

/// Without memory, the code has to do.
void Renewer::Entry::note(const Failure& why) noexcept {
  failure = why.code;
  try {
    explanation = why.text;
  } catch (const std::bad_alloc&) {
    explanation.clear();
  }
}

void Renewer::Entry::explain(Loss& loss) const {
  if (!is_late) {
    loss.explanation = is_not_ours;
    return;
  }
  if (!failure && renew_at() == TimePoint::max()) {
    loss.explanation = "its ttl is over, and it is not renewed (auto_renew, max_hold)";
    return;
  }
  loss.explanation = "it was not renewed in time";
  loss.code = failure;
  if (!failure && awaits_answer) loss.code = make_error_code(Errc::timed_out);
  if (!explanation.empty()) loss.explanation += "; the last attempt: " + explanation;
}

Lease& Renewer::open(RoutePin route) {
  if (Entry* const entry = aside_.exchange(nullptr)) {
    assert(!entry->awaits_answer && !entry->picked);
    entry->place = Place::own;
    entry->is_notified = false;
    entry->route = std::move(route);
    return *entry;
  }
  const MutexLock lock(mutex_);
  if (spare_.empty()) {
    // All the memory that a lease ever needs here is taken now, before anything is sent.
    tries_.reserve(entries_ + 1);
    losses_.reserve(entries_ + 1);
    spare_.emplace_back();
    ++entries_;
    spare_.front().self = spare_.begin();
  }
  Entry& entry = spare_.front();
  assert(entry.place == Place::spare && !entry.awaits_answer && !entry.picked);
  entry.is_notified = false;
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

/// Leaves a free entry for the next `open`, so that neither takes the mutex. False when another
/// entry has been left already.
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
  entry.is_suspended = entry.is_free = entry.is_late = false;
  entry.redirects = 0;
  entry.forget_failure();
  if (entry.is_lost()) {
    if (entry.is_notified) return false;
    move(entry, Place::lost);
    return true;
  }
  move(entry, Place::kept);
  const bool has_several = Keys::are_several(entry.extension());
  keys_.put(entry, has_several ? KeptKeys::several : KeptKeys::chain_of(entry.key()));
  const TimePoint before = due_;
  put_in_heaps(entry);
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

/// Until the background thread has put the renewals of all picked entries into the queues of their
/// connections, which waits for no server: what the lock sends next is behind them.
void Renewer::await_picked_up(const Entry& entry) noexcept {
  while (entry.picked) mutex_.wait(picked_up_);
}

bool Renewer::pause_renewal(Lease& lease, Place to) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  await_picked_up(entry);
  move(entry, to);
  entry.is_free = to == Place::over && !entry.awaits_answer;
  return entry.is_notified;
}

Renewer::HandedOver Renewer::hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  await_picked_up(entry);
  if (entry.place != Place::kept || entry.is_lost()) return HandedOver::no;
  entry.renew_for(schedule);
  // The token that the last holder has given out must not tell it of a loss of the next one's.
  entry.lost() = std::stop_source(std::nostopstate);
  entry.next_try = next_renewal(entry);
  entry.forget_failure();
  const TimePoint before = due_;
  put_in_heaps(entry);
  return due_ < before ? HandedOver::yes_and_sooner : HandedOver::yes;
}

std::stop_token Renewer::lost_token(Lease& lease) {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  if (!entry.lost().stop_possible()) {
    entry.lost() = std::stop_source();
    // The notifier may have taken the loss before this lock asked for a token.
    if (entry.is_lost() && entry.place == Place::own) entry.lost().request_stop();
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
    assert(entry.place == Place::kept && !entry.awaits_answer && !entry.is_suspended);
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

/// Moves the leases whose loss is known or due to the lost ones. A lease that was renewed since it
/// was put into the heap gets its new time there.
void Renewer::find_losses(TimePoint now) noexcept {
  while (losses_.first_due() <= now) {
    Entry& entry = losses_.first();
    if (!entry.is_lost() && now >= entry.notify_loss_at()) {
      entry.is_late = true;
      entry.lose();
    }
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

void Renewer::renew_all(TimePoint now) noexcept {
  const MutexLock lock(mutex_);
  for (Entry& entry : kept_) {
    if (!entry.try_index.exists()) continue;  // suspended, not renewed, or on its way
    entry.next_try = now;
    put_in_heaps(entry);
  }
}

/// Not one that is picked: the background thread is reading its key and its extension.
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
  entry.is_notified = true;
  Loss loss{.notified = entry.lost(), .key = entry.take_key(), .held = entry.held(now)};
  try {
    entry.explain(loss);
  } catch (const std::bad_alloc&) {
    loss.explanation.clear();
  }
  return loss;
}

TimePoint Renewer::due() const noexcept {
  const MutexLock lock(mutex_);
  return due_;
}

TimePoint Renewer::next_loss_at() noexcept {
  const MutexLock lock(mutex_);
  notify_at_ = next_lost() == lost_.end() ? losses_.first_due() : TimePoint{};
  return notify_at_;
}

void Renewer::wake_notifier(TimePoint notify_at) noexcept {
  if (notify_at >= notify_at_) return;
  notify_at_ = notify_at;
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

int Renewer::holding_thread(std::string_view key, const protocol::Command& command) const noexcept {
  const MutexLock lock(mutex_);
  const Entry* const holder = find(keys_, Keys(key, command));
  return holder == nullptr ? 0 : holder->schedule().thread;
}

std::optional<std::string> Renewer::held_value(std::string_view key, std::string_view owner_tag,
                                               TimePoint now) const {
  const MutexLock lock(mutex_);
  const auto is_such = [&](const Entry& entry) {
    return entry.key() == key && now < entry.valid_until() && entry.value().starts_with(owner_tag);
  };
  const Entry* const holder = keys_.find(KeptKeys::chain_of(key), is_such);
  return holder == nullptr ? std::nullopt : std::optional(holder->value());
}

/// A lease of one of the keys; null: none.
const Renewer::Entry* Renewer::find(const KeptKeys& kept, const Keys& wanted) noexcept {
  const Entry* holder = kept.find(KeptKeys::several, [&](const Entry& entry) {
    const protocol::Command extension = entry.extension();
    return wanted.meet(Keys(entry.key(), extension));
  });
  const auto has = [&](std::string_view key) {
    holder =
        kept.find(KeptKeys::chain_of(key), [&](const Entry& entry) { return entry.key() == key; });
    return holder != nullptr;
  };
  if (holder == nullptr) wanted.any(has);
  return holder;
}

bool Renewer::awaits_answers() const noexcept {
  const MutexLock lock(mutex_);
  return awaited_ > 0;
}

Renewer::Answered Renewer::answered(const PendingRenewal& renewal, const protocol::Reply& reply,
                                    TimePoint sent, TimePoint now) noexcept {
  if (redirect(*renewal.lease, protocol::redirection(reply), now)) return Answered::redirected;
  const protocol::Vote vote = protocol::ours(reply);
  if (vote == protocol::Vote::refused) {
    // An error in doubt may be that of a proxy, so it is not known on which connection the server
    // would still carry the renewal out.
    const Sent doubted{protocol::leaves_script_in_doubt(reply.text) ? sent : TimePoint{}};
    const std::string explanation = explanation_of(reply);
    const Failure why{make_error_code(protocol::classify(reply.text)), explanation};
    return failed(*renewal.lease, renewal.ttl, doubted, now, why) ? Answered::counted
                                                                  : Answered::too_late;
  }
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(*renewal.lease);
  answered(entry);
  if (!is_looked_after(entry)) return Answered::too_late;
  entry.forget_failure();
  entry.forget_redirects();
  if (vote == protocol::Vote::no) {
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
  put_in_heaps(entry);
  return Answered::counted;
}

void Renewer::learn(const PendingRenewal& renewal, std::span<const Response> responses) noexcept {
  const MutexLock lock(mutex_);
  if (!is_looked_after(entry_of(*renewal.lease))) return;
  QuorumReply::learn_extended(*renewal.lease, responses, renewal.ttl, protocol::ours);
}

/// The renewal was not carried out, as the key is at another node of the cluster, or is being moved
/// there: the next one is made at once, unless it was redirected several times in a row.
bool Renewer::redirect(Lease& lease, protocol::Redirection how, TimePoint now) noexcept {
  using How = protocol::Redirection;
  if (how != How::moved && how != How::asks) return false;
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  if (++entry.redirects > protocol::max_redirects) return false;
  answered(entry);
  if (!is_looked_after(entry)) return true;
  entry.ask(how == How::asks);
  if (entry.place != Place::kept) return true;
  if (!entry.is_suspended) {
    entry.next_try = now < entry.schedule().renew_until ? now : TimePoint::max();
  }
  put_in_heaps(entry);
  return true;
}

bool Renewer::failed(Lease& lease, std::chrono::milliseconds ttl, Sent sent, TimePoint now,
                     const Failure& why) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  answered(entry);
  if (!is_looked_after(entry)) return false;
  entry.note(why);
  entry.forget_redirects();
  if (sent.at != TimePoint{}) entry.doubt(sent, ttl);
  if (entry.place != Place::kept) return true;
  if (!entry.is_suspended) {
    // About twenty tries until the validity ends, and no more than one in a millisecond.
    const auto pause =
        std::max<std::chrono::nanoseconds>(entry.ttl() / 30, std::chrono::milliseconds(1));
    const TimePoint again = now + pause;
    entry.next_try = again < entry.schedule().renew_until ? again : TimePoint::max();
  }
  put_in_heaps(entry);
  return true;
}

// The last look before a renewal goes out: none is sent behind the release of its lease, on
// whatever way it has waited until now.
bool Renewer::is_wanted(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  if (entry.place != Place::over && entry.place != Place::closed) return true;
  answered(entry);
  return false;
}

void Renewer::superseded(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  Entry& entry = entry_of(lease);
  answered(entry);
  if (entry.place != Place::kept) return;
  if (!entry.is_suspended) entry.next_try = next_renewal(entry);
  put_in_heaps(entry);
}

/// False when the loss has been notified, or the lock gives the lease up.
bool Renewer::is_looked_after(const Entry& entry) noexcept {
  return entry.place == Place::kept || (entry.place == Place::own && !entry.is_notified);
}

/// The renewal of the entry is over. An entry that was closed meanwhile becomes spare.
void Renewer::answered(Entry& entry) noexcept {
  assert(entry.awaits_answer && awaited_ > 0);
  entry.awaits_answer = false;
  --awaited_;
  if (entry.place == Place::closed) move(entry, Place::spare);
}

/// Up to a thirtieth of the ttl before the time that the lease counts by itself, at random, so that
/// leases that were acquired or renewed together are not renewed together for ever. Marsaglia's
/// xorshift is random enough for that.
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

/// Puts a kept entry into both heaps, and wakes the notifier when its loss would be the first.
void Renewer::put_in_heaps(Entry& entry) noexcept {
  assert(entry.place == Place::kept);
  const TimePoint notify_at = entry.notify_loss_at();
  losses_.put(entry, notify_at);
  wake_notifier(notify_at);
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

/// All changes of a place but those of a free entry, which its lock's thread makes without the
/// mutex.
void Renewer::move(Entry& entry, Place to) noexcept {
  assert(spare_.size() + own_.size() + kept_.size() + lost_.size() == entries_);
  assert(losses_.size() == kept_.size() && tries_.size() <= kept_.size());
  assert(!entry.awaits_answer || to != Place::spare);
  if (entry.place == Place::kept && to != Place::kept) {
    tries_.remove(entry);
    losses_.remove(entry);
    keys_.remove(entry);
  }
  Entries& target = list_for(to);
  // The latest spare entry is opened first, as it is most likely in a cache.
  target.splice(to == Place::spare ? target.begin() : target.end(), list_for(entry.place),
                entry.self);
  entry.place = to;
  if (to == Place::spare) entry.route = {};
  if (to == Place::lost) wake_notifier(TimePoint{});
}

/// Every lock that the child has inherited keeps its entry, without a lease that counts, until the
/// lock is destroyed. Threads of the parent may have left a lease locked, or wait in `picked_up_`.
void Renewer::after_fork_in_child() noexcept {
  tries_.clear();
  losses_.clear();
  for (Entry& entry : kept_) keys_.remove(entry);
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
  due_ = notify_at_ = TimePoint::max();
  mutex_.unlock();
}

}  // namespace redlatch::detail
