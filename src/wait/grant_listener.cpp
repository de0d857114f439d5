#include "wait/grant_listener.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <optional>
#include <stop_token>

#include "engine/call.hpp"
#include "base/io_error.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {

namespace {

// So long nobody tries again, when it is not likely to be another way soon, and when it may be.
constexpr std::chrono::minutes refused{1};
constexpr std::chrono::milliseconds failed{100};

}  // namespace

Address Listening::address(TimePoint latest, const std::stop_token& stop, Guard& guard) {
  const TimePoint start = BootClock::now();
  if (!settings_.options.scripting) return {.is_refused = true};
  if (start < not_before_) return {.is_refused = is_refused_};
  if (mailbox_.is_open()) return mailbox_.address();
  if (busy_) return {.is_pending = true};
  if (start >= latest) return {};
  busy_ = true;
  Mailbox::Subscription subscription;
  is_refused_ = false;
  {
    const Unlocked unlocked(guard);
    try {
      wake_up_.open();
      const std::stop_callback stopping(stop, [this] { wake_up_.signal(); });
      subscription = mailbox_.subscribe(std::min(latest, start + settings_.options.connect_timeout),
                                        wake_up_.fd());
    } catch (const IoError& error) {
      is_refused_ = error.code() != Errc::unreachable && error.code() != Errc::timed_out;
    } catch (const std::exception&) {
      // No memory or descriptor is left.
    }
    if (subscription.session) help_.happened(EventKind::connected, start, {});
  }
  busy_ = false;
  const TimePoint end = BootClock::now();
  if (stop.stop_requested()) {
    wake_up_.clear();
    if (!subscription.session) return {};  // which says nothing about the server
  }
  if (!subscription.session) {
    told_.clear();
    // Those who wait have better things to do than to try to connect.
    not_before_ = is_refused_
                      ? end + refused
                      : end + std::max<std::chrono::nanoseconds>(failed, 10 * (end - start));
    return {.is_refused = is_refused_};
  }
  open_since_ = heard_at_ = end;
  passed_over_ = false;
  mailbox_.open(std::move(subscription));
  // Whoever was served while nobody listened was passed over.
  note_change_of_all();
  return mailbox_.address();
}

void Listening::refuse() noexcept {
  is_refused_ = true;
  not_before_ = BootClock::now() + refused;
}

void Listening::add(WaitingPlace& place, TenureOf entry) noexcept {
  place.entry_ = std::move(entry);
  place.news_ = 0;
  standing_.splice(standing_.end(), place.node_);
}

void Listening::read_before_judging(QueuePlace::Ending how, Guard& guard) noexcept {
  using Ending = QueuePlace::Ending;
  const bool judges = how == Ending::told ? is_late() : how == Ending::gone && passed_over_;
  if (!judges || !mailbox_.is_open()) return;
  take_in(guard);
  // The listener sleeps until something comes that has not been read.
  if (listener_ != nullptr && listener_->has_news()) wake(*listener_);
}

TenureOf Listening::remove(WaitingPlace& place, QueuePlace::Ending how) noexcept {
  if (how == QueuePlace::Ending::told && !place.is_granted()) expect(place.entry_->value());
  if (how == QueuePlace::Ending::gone && std::exchange(passed_over_, true)) {
    lose(make_error_code(Errc::timed_out));  // once more, and not a word in between
  }
  place.node_.splice(place.node_.end(), standing_, place.stands_);
  place.news_ = 0;
  call_listener(nullptr);
  return std::move(place.entry_);
}

/// A message that is late shows that none will come.
void Listening::expect(const std::string& value) noexcept {
  if (!mailbox_.is_open() && !busy_) return;
  if (is_late()) lose(make_error_code(Errc::timed_out));
  try {
    told_.push_back({.value = value, .since = BootClock::now()});
  } catch (const std::bad_alloc&) {
    lose(make_error_code(std::errc::not_enough_memory));  // so that the message never comes
  }
}

/// The oldest is first.
bool Listening::is_late() const noexcept {
  return !told_.empty() &&
         BootClock::now() - told_.front().since > settings_.options.command_timeout;
}

void Listening::pass_on(WaitingPlace& from, WaitingPlace& to) noexcept {
  const unsigned news = from.news_;
  add(to, remove(from, QueuePlace::Ending::settled));
  to.news_ = news;
}

bool Listening::listen(WaitingPlace& place, TimePoint end, Guard& guard) {
  busy_ = true;
  listener_ = &place;
  woken_ = false;
  const bool heard = hear(place, end, guard);
  if (woken_) wake_up_.clear();
  listener_ = nullptr;
  busy_ = false;
  heard_at_ = BootClock::now();
  if (heard) {
    call_listener(&place);
  } else {
    help_.look_later();
  }
  return heard;
}

/// Somebody else than the one who may come back to it.
void Listening::call_listener(const WaitingPlace* but) noexcept {
  if (busy_) return;
  const auto other = std::find_if(standing_.begin(), standing_.end(), [&](const WaitingPlace* one) {
    return one != but && one->listens();
  });
  if (other != standing_.end()) post(**other);
  help_.look_later();
}

bool Listening::hear(const WaitingPlace& place, TimePoint end, Guard& guard) noexcept {
  while (!woken_ && !place.has_news() && BootClock::now() < end) {
    std::array<pollfd, 2> watched{{{.fd = mailbox_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = wake_up_.fd(), .events = POLLIN, .revents = 0}}};
    try {
      const Unlocked unlocked(guard);
      poll_until(watched, end);
    } catch (const IoError&) {
      return false;
    }
    if (watched[0].revents != 0 && mailbox_.is_open()) take_in(guard);
  }
  return true;
}

bool Listening::wake(const WaitingPlace& place) noexcept {
  if (&place != listener_) return false;
  woken_ = true;
  wake_up_.signal();
  return true;
}

void Listening::take_in_idle(Guard& guard) noexcept {
  if (can_listen()) take_in(guard);
}

void Listening::drop() noexcept {
  constexpr std::chrono::milliseconds is_new{50};
  if (BootClock::now() - open_since_ >= is_new) lose(make_error_code(Errc::not_writable));
}

void Listening::take_in(Guard& guard) noexcept {
  std::vector<Mailbox::Message> nobodys;
  try {
    for (Mailbox::Message& message : mailbox_.take_in()) {
      passed_over_ = false;
      if (!deliver(message)) nobodys.push_back(std::move(message));
    }
  } catch (const IoError& error) {
    lose(make_error_code(error.code()));
  } catch (const std::bad_alloc&) {
    lose(make_error_code(std::errc::not_enough_memory));
  }
  if (nobodys.empty()) return;
  const Unlocked unlocked(guard);
  for (const Mailbox::Message& grant : nobodys) help_.give_back(grant.key, grant.value);
}

/// False when it is a grant for somebody who does not wait here any more.
bool Listening::deliver(const Mailbox::Message& message) noexcept {
  using Kind = Mailbox::Message::Kind;
  bool delivered = message.kind != Kind::grant;
  for (WaitingPlace* place : standing_) {
    const bool is_meant = message.kind == Kind::flush ||
                          (message.kind == Kind::change ? message.key == place->key_
                                                        : message.value == place->entry_->value());
    if (!is_meant) continue;
    delivered = true;
    place->news_ |= message.kind == Kind::grant ? WaitingPlace::granted : WaitingPlace::changed;
    if (place != listener_) post(*place);  // who listens looks
  }
  return delivered ||
         told_.remove_if([&](const Told& one) { return one.value == message.value; }) > 0;
}

void Listening::lose(std::error_code why) noexcept {
  if (!mailbox_.is_open()) return;
  mailbox_.close();
  told_.clear();
  help_.happened(EventKind::disconnected, open_since_, why);
  note_change_of_all();
}

void Listening::note_change_of_all() noexcept {
  for (WaitingPlace* place : standing_) {
    place->news_ |= WaitingPlace::changed;
    if (!wake(*place)) post(*place);
  }
}

void Listening::post(WaitingPlace& place) noexcept {
  ++place.posts_;
  place.turn_.post();
}

void Listening::after_fork_in_child() noexcept {
  mailbox_.abandon(busy_);
  busy_ = false;
  listener_ = nullptr;
  standing_.clear();
  told_.clear();
  wake_up_.close();
  not_before_ = {};
}

}  // namespace redlatch::detail
