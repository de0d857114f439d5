#include <algorithm>
#include <exception>
#include <list>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "background/background.hpp"
#include "net/poll.hpp"

// What the thread does.

namespace redlatch::detail {

namespace {

/// The same as `look_after` for the answer to a renewal, at first.
constexpr std::chrono::milliseconds look_soon{1};

}  // namespace

void Background::run() noexcept {
  Guard guard(mutex_);
  for (;;) {
    try {
      const bool finished = work(guard);
      if (finished && (all_settled() || BootClock::now() >= stop_at_)) break;
      rest(guard);
    } catch (const std::exception&) {
      // Out of memory, say: what is open stays open.
      if (!guard.owns_lock()) guard.lock();
      guard.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      guard.lock();
    }
  }
  retired_.close();
  for (const Exchange& one : open_) ended(one.release, one.release.run_out());
}

bool Background::all_settled() const noexcept { return open_.empty() && retired_.empty(); }

bool Background::work(Guard& guard) {
  retired_.take_in();
  if (std::exchange(server_changed_, false)) drop_watched(guard);
  if (!stopping_) interrupt_.clear();
  if (!stopping_) renew_due(guard);
  if (!stopping_) connect_wanted(guard);
  repeat_due(guard);
  const bool stopping = stopping_;
  if (!stopping && BootClock::now() < look_at_) return false;
  expecting_ = false;
  const TimePoint stop_at = stop_at_;
  // One end for all channels, however many there are.
  const TimePoint end =
      stopping ? stop_at
               : std::min(patience(), BootClock::now() + settings_.options.command_timeout);
  guard.unlock();
  bool more = false;
  // All of them before one can take up the time of the others.
  for (Channel* channel : channels_) more |= channel->take_in(end);
  if (stopping) {
    for (Channel* channel : channels_) channel->finish(stop_at);
  }
  guard.lock();
  if (more) expecting_ = true;
  look_pause_ = renewer_.awaits_answers() ? std::min(2 * look_pause_, look_after) : look_after;
  look_at_ = expecting_ ? BootClock::now() + look_pause_ : TimePoint::max();
  return stopping;
}

void Background::renew_due(Guard& guard) {
  if (BootClock::now() < renewer_.due()) return;
  const int cancel = interrupt_.fd();
  guard.unlock();
  // An answer may lie about that makes the difference.
  const TimePoint now = BootClock::now();
  const TimePoint end = std::min(patience(), now + settings_.options.command_timeout);
  if (renewer_.awaits_answers()) {
    for (Channel* channel : channels_) channel->take_in(end);
  }
  const std::span<Tenure* const> due = renewer_.pick(BootClock::now());
  if (renew_) {
    renew_(due);
    guard.lock();
    return;
  }
  for (Tenure* tenure : due) {
    Channel& channel = channel_of_(tenure->key());
    if (!channel.renew(*tenure)) {
      renewer_.failed(*tenure, {}, {}, BootClock::now());
      happened(EventKind::renewal_failed, tenure->key(), tenure->upkeep().since,
               make_error_code(std::errc::not_enough_memory));
    }
    if (std::find(renewing_.begin(), renewing_.end(), &channel) == renewing_.end()) {
      renewing_.push_back(&channel);
    }
  }
  const bool any = !due.empty();
  renewer_.picked_up();
  // Connecting must not keep anybody from being told of a loss in time, or from being renewed.
  std::partition(renewing_.begin(), renewing_.end(),
                 [](const Channel* channel) { return channel->connected(); });
  const TimePoint latest = renewer_.first_notice();
  auto left = static_cast<TimePoint::duration::rep>(renewing_.size());
  for (Channel* channel : renewing_) {
    const TimePoint begun = BootClock::now();
    channel->say_renewals(begun + (latest - begun) / left--, cancel);
  }
  renewing_.clear();
  guard.lock();
  if (!any) return;
  look_pause_ = look_soon;
  look_at_ = std::min(look_at_, BootClock::now() + look_pause_);
}

/// Until when a silent server may keep the thread from renewals and their answers: for half of the
/// time, at most, that they have until a loss would be told, or an answer would be late.
TimePoint Background::patience() const noexcept {
  const TimePoint now = BootClock::now();
  const bool awaits = renewer_.awaits_answers();
  const TimePoint next = awaits ? now : renewer_.due();
  const TimePoint late = awaits ? now + settings_.options.command_timeout : TimePoint::max();
  const TimePoint end = std::min(renewer_.first_notice(), late);
  return end <= next ? next : next + (end - next) / 2;
}

/// Something has become more urgent.
bool Background::is_pressed() const noexcept {
  return !stopping_ && (renewer_.awaits_answers() || BootClock::now() >= renewer_.due());
}

void Background::connect_wanted(Guard& guard) {
  while (!to_connect_.empty()) {
    Channel* const channel = to_connect_.back();
    to_connect_.pop_back();
    const int cancel = interrupt_.fd();
    const TimePoint latest = patience();
    guard.unlock();
    channel->repeat({}, latest, cancel);
    guard.lock();
    if (is_pressed()) return;
  }
}

/// Releases that are due, or over, of one channel; one alone when it needs a conversation.
Exchanges Background::take_due(TimePoint now) {
  Exchanges due;
  const Channel* channel = nullptr;
  for (auto next = open_.begin(); next != open_.end();) {
    const auto one = next++;
    const Release& release = one->release;
    const bool alone = release.over(now) || release.converses();
    if ((release.due() > now && !release.over(now)) || (alone && !due.empty())) continue;
    const Channel* const its = &channel_of_(release.key());
    if (channel != nullptr && its != channel) continue;
    channel = its;
    due.splice(due.end(), open_, one);
    if (alone) return due;
  }
  return due;
}

/// One end for all of them, however many there are.
void Background::repeat_due(Guard& guard) {
  const TimePoint now = BootClock::now();
  const TimePoint end = patience();
  for (;;) {
    const TimePoint latest = stopping_ ? stop_at_ : end;
    Exchanges due = take_due(now);
    if (due.empty()) return;
    if (BootClock::now() >= stop_at_) return open_.splice(open_.end(), due);
    const int cancel = stopping_ ? never_cancelled : interrupt_.fd();
    guard.unlock();
    const Release& release = due.front().release;
    if (release.over(now)) {
      ended(release, release.run_out());
    } else if (release.converses()) {
      converse(std::move(due), Connecting::counted, latest);
    } else {
      channel_of_(release.key()).repeat(std::move(due), latest, cancel);
    }
    guard.lock();
    if (is_pressed()) return;
  }
}

void Background::drop_watched(Guard& guard) {
  if (watched_ == nullptr) return;
  guard.unlock();
  watched_->drop();
  guard.lock();
}

void Background::converse(Exchanges one, Connecting connecting, TimePoint latest) noexcept {
  Release& release = one.front().release;
  const protocol::Command command = release.command();
  Response response;
  bool broke = true;
  try {
    const TimePoint end = BootClock::now() + settings_.options.command_timeout;
    channel_of_(release.key())
        .execute({.key = release.key(), .commands = {&command, 1}}, response, connecting,
                 std::min(end, latest));
    broke = response.failure && response.failure->in_doubt();
  } catch (const std::bad_alloc&) {
    // As open as after a break.
  }
  const TimePoint now = BootClock::now();
  if (broke) {
    release.broke(Errc::timed_out, now);
  } else if (response.failure) {
    release.failed(static_cast<Errc>(response.failure->code().value()), now);
  } else if (const auto fate = release.answered(response.replies.front(),
                                                settings_.options.command_timeout, now)) {
    return ended(release, *fate);
  }
  open(std::move(one));
}

/// Sleeps until something is due or a server has spoken.
void Background::rest(Guard& guard) {
  TimePoint end = std::min({stop_at_, look_at_, retired_.until(), renewer_.due()});
  for (const Exchange& one : open_) {
    end = std::min({end, one.release.due(), one.release.until()});
  }
  std::vector<pollfd> watched{{.fd = wake_up_.fd(), .events = POLLIN, .revents = 0}};
  retired_.watch(watched);
  const bool stopping = stopping_;
  guard.unlock();
  const bool watches = !stopping && watched_ != nullptr;
  const Watched::Source source = watches ? watched_->source() : Watched::Source{};
  const bool others_watch = BootClock::now() < source.from;
  if (others_watch) end = std::min(end, source.from);
  watched.push_back({.fd = others_watch ? -1 : source.fd, .events = POLLIN, .revents = 0});
  poll_until(watched, end);
  if (watched.back().revents != 0) watched_->take_in();
  guard.lock();
  wake_up_.clear();
}

}  // namespace redlatch::detail
