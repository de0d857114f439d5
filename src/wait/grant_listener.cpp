#include "wait/grant_listener.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <optional>
#include <stop_token>

#include "base/io_error.hpp"
#include "base/unlocked.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {

namespace {

// So long nobody tries again, when it is not likely to be another way soon, and when it may be.
constexpr std::chrono::minutes refused{1};
constexpr std::chrono::milliseconds failed{100};

// Closings in a row at SUBSCRIBE are a server's that restarts, until there are as many and they
// have gone on for as long. The pause doubles from one to the next.
constexpr unsigned min_closings = 4;
constexpr std::chrono::seconds min_closings_time{3};
constexpr std::chrono::milliseconds max_failed{1000};

}  // namespace

Address GrantListener::address(TimePoint latest, const std::stop_token& stop, Guard& guard) {
  const TimePoint start = BootClock::now();
  if (!settings_.options.scripting) return {.is_refused = true};
  if (start < not_before_) return no_address();
  if (subscription_.is_open()) return subscription_.address();
  if (busy_) return {.is_pending = true};
  if (start >= latest) return {};
  busy_ = true;
  Subscription::Link link;
  if (is_refused_ || start - not_before_ > refused) closings_ = 0;  // another row
  is_refused_ = false;
  std::optional<Errc> failure;
  bool closed = false;
  {
    const Unlocked unlocked(guard);
    try {
      event_fd_.open();
      const std::stop_callback stopping(stop, [this] { event_fd_.signal(); });
      link = subscription_.subscribe(std::min(latest, start + settings_.options.connect_timeout),
                                     event_fd_.fd());
      closed = !link.connection;
    } catch (const IoError& error) {
      failure = error.code();
    } catch (const std::exception&) {
      // No memory or descriptor is left.
    }
    if (link.connection) help_.record_event(EventKind::connected, start, {});
  }
  busy_ = false;
  const TimePoint end = BootClock::now();
  if (stop.stop_requested()) {
    event_fd_.clear();
    if (!link.connection) return {};  // which says nothing about the server
  }
  if (!link.connection) {
    expected_.clear();
    // Those who wait have better things to do than to try to connect.
    not_before_ = end + std::max(closed ? pause_after_closing(end) : pause_after(failure),
                                 10 * (end - start));
    return no_address();
  }
  closings_ = 0;
  open_since_ = heard_at_ = end;
  passed_over_ = false;
  subscription_.open(std::move(link));
  // Whoever was served while nobody listened was passed over.
  note_change_of_all();
  return subscription_.address();
}

Address GrantListener::no_address() const noexcept {
  return {.is_refused = is_refused_, .is_closed = closings_ > 0};
}

std::chrono::nanoseconds GrantListener::pause_after(std::optional<Errc> failure) noexcept {
  is_refused_ = failure && *failure != Errc::unreachable && *failure != Errc::timed_out;
  if (failure != Errc::timed_out) closings_ = 0;
  return is_refused_ ? std::chrono::nanoseconds(refused) : failed;
}

std::chrono::nanoseconds GrantListener::pause_after_closing(TimePoint end) noexcept {
  if (closings_++ == 0) closed_since_ = end;
  is_refused_ = closings_ >= min_closings && end - closed_since_ >= min_closings_time;
  if (is_refused_) return refused;
  return std::min(failed * (1U << std::min(closings_ - 1, min_closings)), max_failed);
}

void GrantListener::refuse() noexcept {
  is_refused_ = true;
  closings_ = 0;
  not_before_ = BootClock::now() + refused;
}

void GrantListener::add(LocalWaiter& waiter, LeasePtr entry) noexcept {
  waiter.entry_ = std::move(entry);
  waiter.news_ = 0;
  standing_.splice(standing_.end(), waiter.node_);
}

void GrantListener::read_before_judging(Waiter::Ending how, Guard& guard) noexcept {
  using Ending = Waiter::Ending;
  const bool judges = how == Ending::notified ? is_late() : how == Ending::gone && passed_over_;
  if (!judges || !subscription_.is_open()) return;
  receive_available(guard);
  // The listener sleeps until something comes that has not been read.
  if (listener_ != nullptr && listener_->has_news()) wake(*listener_);
}

LeasePtr GrantListener::remove(LocalWaiter& waiter, Waiter::Ending how) noexcept {
  if (how == Waiter::Ending::notified && !waiter.is_granted()) expect(waiter.entry_->value());
  if (how == Waiter::Ending::gone && std::exchange(passed_over_, true)) {
    lose(make_error_code(Errc::timed_out));  // once more, and not a word in between
  }
  waiter.node_.splice(waiter.node_.end(), standing_, waiter.stands_);
  waiter.news_ = 0;
  call_listener(nullptr);
  return std::move(waiter.entry_);
}

/// A message that is late shows that none will come.
void GrantListener::expect(const std::string& value) noexcept {
  if (!subscription_.is_open() && !busy_) return;
  if (is_late()) lose(make_error_code(Errc::timed_out));
  try {
    expected_.push_back({.value = value, .since = BootClock::now()});
  } catch (const std::bad_alloc&) {
    lose(make_error_code(std::errc::not_enough_memory));  // so that the message never comes
  }
}

/// The oldest is first.
bool GrantListener::is_late() const noexcept {
  return !expected_.empty() &&
         BootClock::now() - expected_.front().since > settings_.options.command_timeout;
}

void GrantListener::pass_on(LocalWaiter& from, LocalWaiter& to) noexcept {
  const unsigned news = from.news_;
  add(to, remove(from, Waiter::Ending::settled));
  to.news_ = news;
}

bool GrantListener::listen(LocalWaiter& waiter, TimePoint end, Guard& guard) {
  busy_ = true;
  listener_ = &waiter;
  woken_ = false;
  const bool heard = hear(waiter, end, guard);
  if (woken_) event_fd_.clear();
  listener_ = nullptr;
  busy_ = false;
  heard_at_ = BootClock::now();
  if (heard) {
    call_listener(&waiter);
  } else {
    help_.look_later();
  }
  return heard;
}

/// Somebody else than the one who may come back to it.
void GrantListener::call_listener(const LocalWaiter* but) noexcept {
  if (busy_) return;
  const auto other = std::find_if(standing_.begin(), standing_.end(), [&](const LocalWaiter* one) {
    return one != but && one->listens();
  });
  if (other != standing_.end()) post(**other);
  help_.look_later();
}

bool GrantListener::hear(const LocalWaiter& waiter, TimePoint end, Guard& guard) noexcept {
  while (!woken_ && !waiter.has_news() && BootClock::now() < end) {
    std::array<pollfd, 2> watched{{{.fd = subscription_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = event_fd_.fd(), .events = POLLIN, .revents = 0}}};
    try {
      const Unlocked unlocked(guard);
      poll_until(watched, end);
    } catch (const IoError&) {
      return false;
    }
    if (watched[0].revents != 0 && subscription_.is_open()) receive_available(guard);
  }
  return true;
}

bool GrantListener::wake(const LocalWaiter& waiter) noexcept {
  if (&waiter != listener_) return false;
  woken_ = true;
  event_fd_.signal();
  return true;
}

void GrantListener::receive_while_idle(Guard& guard) noexcept {
  if (can_listen()) receive_available(guard);
}

void GrantListener::drop() noexcept {
  constexpr std::chrono::milliseconds is_new{50};
  if (BootClock::now() - open_since_ >= is_new) lose(make_error_code(Errc::not_writable));
}

void GrantListener::receive_available(Guard& guard) noexcept {
  std::vector<Subscription::Message> background;
  try {
    for (Subscription::Message& message : subscription_.receive_available()) {
      passed_over_ = false;
      if (!deliver(message)) background.push_back(std::move(message));
    }
  } catch (const IoError& error) {
    lose(make_error_code(error.code()));
  } catch (const std::bad_alloc&) {
    lose(make_error_code(std::errc::not_enough_memory));
  }
  if (background.empty()) return;
  const Unlocked unlocked(guard);
  for (const Subscription::Message& grant : background) help_.give_back(grant.key, grant.value);
}

/// False when it is a grant for somebody who does not wait here any more.
bool GrantListener::deliver(const Subscription::Message& message) noexcept {
  using Kind = Subscription::Message::Kind;
  bool delivered = message.kind != Kind::grant;
  for (LocalWaiter* waiter : standing_) {
    const bool is_meant = message.kind == Kind::flush ||
                          (message.kind == Kind::change ? message.key == waiter->key_
                                                        : message.value == waiter->entry_->value());
    if (!is_meant) continue;
    delivered = true;
    waiter->news_ |= message.kind == Kind::grant ? LocalWaiter::granted : LocalWaiter::changed;
    if (waiter != listener_) post(*waiter);  // who listens looks
  }
  return delivered || expected_.remove_if(
                          [&](const ExpectedGrant& one) { return one.value == message.value; }) > 0;
}

void GrantListener::lose(std::error_code why) noexcept {
  if (!subscription_.is_open()) return;
  subscription_.close();
  expected_.clear();
  help_.record_event(EventKind::disconnected, open_since_, why);
  note_change_of_all();
}

void GrantListener::note_change_of_all() noexcept {
  for (LocalWaiter* waiter : standing_) {
    waiter->news_ |= LocalWaiter::changed;
    if (!wake(*waiter)) post(*waiter);
  }
}

void GrantListener::post(LocalWaiter& waiter) noexcept {
  ++waiter.posts_;
  waiter.baton_.post();
}

void GrantListener::after_fork_in_child() noexcept {
  subscription_.abandon(busy_);
  busy_ = false;
  listener_ = nullptr;
  standing_.clear();
  expected_.clear();
  event_fd_.close();
  not_before_ = {};
}

}  // namespace redlatch::detail
