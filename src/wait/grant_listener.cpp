#include "wait/grant_listener.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <exception>
#include <new>
#include <optional>
#include <stop_token>
#include <string>

#include "base/io_error.hpp"
#include "base/unlocked.hpp"
#include "net/poll.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

namespace {

// Delay before subscribing again: one minute after a refusal, which lasts until an administrator
// changes it; 100 ms after a transient failure.
constexpr std::chrono::minutes refusal_delay{1};
constexpr std::chrono::milliseconds failure_delay{100};

// Connections that are closed at SUBSCRIBE, in a row, show a proxy that does not know it, once
// there were this many over this time; fewer may be the restart of a server. The delay doubles from
// one to the next, up to the longest.
constexpr unsigned min_closings = 4;
constexpr std::chrono::seconds min_closings_time{3};
constexpr std::chrono::milliseconds max_failure_delay{1000};
constexpr std::string_view closed_at_subscribe =
    "the server closed the connection, before an answer to SUBSCRIBE";

// For how long a grant may be on its way from a node that had the key before.
constexpr std::chrono::minutes max_left{1};

}  // namespace

GrantAddress GrantListener::address(std::string_view key, TimePoint latest,
                                    const std::stop_token& stop) {
  const TimePoint start = BootClock::now();
  if (!settings_.options.scripting) return {.is_refused = true};
  if (is_moved() && !busy_) lose({});
  if (start < not_before_) return no_address();
  if (subscription_.is_open()) return open_address(key);
  if (busy_) return {.is_pending = true};
  if (start >= latest) return {};
  busy_ = true;
  Subscription::Link link;
  // The attempt may take all of connect_timeout, so the mutex, which every waiter and each release
  // needs, is released. While `busy_` is set, no other thread subscribes or reads, so the mutex is
  // not needed for that.
  Subscription* const subscribing = &subscription_;
  if (is_refused_ || start - not_before_ > refusal_delay) closings_ = 0;
  is_refused_ = false;
  std::optional<IoError> failure;
  std::string leads_to;
  bool closed = false;
  {
    const Unlocked unlocked(mutex());
    try {
      event_fd_.open();
      const std::stop_callback stopping(stop, [this] { event_fd_.signal(); });
      link = subscribing->subscribe(
          key, std::min(latest, start + settings_.options.connect_timeout), event_fd_.fd());
      closed = !link.connection;
      if (link.connection) leads_to = link.connection->address.with_port();
    } catch (const NodesLearned&) {
      // The waiter looks where its key is.
    } catch (const IoError& error) {
      failure = error;
    } catch (const std::exception&) {
      // No memory or descriptor is left.
    }
    if (link.connection) {
      help_.record_event(
          {.kind = EventKind::connected, .elapsed = BootClock::now() - start, .detail = leads_to});
    }
  }
  busy_ = false;
  const TimePoint end = BootClock::now();
  if (stop.stop_requested()) {
    event_fd_.clear();
    if (!link.connection) return {};  // the caller has ended the attempt, not the server
  }
  if (!link.connection) {
    if (closed) {
      record_failure({make_error_code(Errc::unreachable), closed_at_subscribe}, end - start);
    } else if (failure && end < latest) {  // else the time of the waiter was too short
      record_failure(failure->failure(), end - start);
    }
    expected_.clear();
    // Longer than the attempt took: waiters ask the server by themselves meanwhile, instead of
    // spending their time on attempts to connect. But not for long: those of a fair lock cannot,
    // and this process may have been stopped during the attempt.
    not_before_ =
        end + std::max(closed ? delay_after_closing(end) : delay_after(failure),
                       std::min<TimePoint::duration>(10 * (end - start), max_failure_delay));
    return no_address();
  }
  closings_ = 0;
  open_since_ = read_at_ = end;
  passed_over_ = false;
  subscription_.open(std::move(link));
  // A grant that was sent while there was no subscription is lost: every waiter asks the server.
  note_change_of_all();
  return open_address(key);
}

void GrantListener::record_failure(const Failure& why, TimePoint::duration elapsed) const noexcept {
  std::string text;
  try {
    text.append("waiters get no messages: ").append(why.text);
  } catch (const std::bad_alloc&) {
    // The event has the code alone.
  }
  help_.record_event(
      {.kind = EventKind::connect_failed, .elapsed = elapsed, .why = {why.code, text}});
}

/// Reads the acknowledgement of the channel if no listener does.
GrantAddress GrantListener::open_address(std::string_view key) {
  try {
    GrantAddress address = subscription_.address(key);
    if (!address.is_pending || busy_) return address;
  } catch (const IoError& error) {
    lose(error.failure());
    return {};
  }
  receive_available();
  return subscription_.is_open() ? subscription_.address(key) : GrantAddress{};
}

GrantAddress GrantListener::no_address() const noexcept {
  return {.is_refused = is_refused_, .is_closed = closings_ > 0};
}

std::chrono::nanoseconds GrantListener::delay_after(
    const std::optional<IoError>& failure) noexcept {
  // A server that is loading, or a replica for the moment, refuses nothing.
  const auto is_for = [&](Errc code) { return failure && failure->code() == code; };
  is_refused_ = failure && !is_outage(failure->code()) && !is_for(Errc::not_writable);
  if (!is_for(Errc::timed_out)) closings_ = 0;
  return is_refused_ ? std::chrono::nanoseconds(refusal_delay) : failure_delay;
}

std::chrono::nanoseconds GrantListener::delay_after_closing(TimePoint end) noexcept {
  if (closings_++ == 0) closed_since_ = end;
  is_refused_ = closings_ >= min_closings && end - closed_since_ >= min_closings_time;
  if (is_refused_) return refusal_delay;
  return std::min(failure_delay * (1U << std::min(closings_ - 1, min_closings)), max_failure_delay);
}

// As after a refused SUBSCRIBE: the waiters pause and ask by themselves for a minute, instead of
// being refused at each step.
void GrantListener::refuse() noexcept {
  is_refused_ = true;
  closings_ = 0;
  not_before_ = BootClock::now() + refusal_delay;
}

void GrantListener::add(LocalWaiter& waiter, LeasePtr entry) noexcept {
  assert(entry && !waiter.entry_ && waiter.node_.size() == 1);
  waiter.entry_ = std::move(entry);
  waiter.news_ = 0;
  waiter.is_moved_ = false;
  entered_.splice(entered_.end(), waiter.node_);
}

void GrantListener::read_before_judging(Waiter::Ending how) noexcept {
  using Ending = Waiter::Ending;
  const bool judges = how == Ending::notified ? is_late() : how == Ending::gone && passed_over_;
  if (!judges || !subscription_.is_open()) return;
  receive_available();
  wake_listener_for_news();
}

/// The listener polls the socket, in which a message that was just read is no more.
void GrantListener::wake_listener_for_news() noexcept {
  if (listener_ != nullptr && listener_->has_news()) wake(*listener_);
}

bool GrantListener::accept(const Subscription::Message& message) noexcept {
  const bool is_delivered = deliver(message);
  wake_listener_for_news();
  return is_delivered;
}

LeasePtr GrantListener::remove(LocalWaiter& waiter, Waiter::Ending how) noexcept {
  assert(waiter.entry_ && waiter.node_.empty());
  if (how == Waiter::Ending::notified && !waiter.is_granted()) {
    // The message of a waiter that was moved here has come to the other node, perhaps. And one that
    // is doubted may be of a former primary: then that of the present one is still to come.
    const bool may_have_come = waiter.is_moved_ || waiter.has_grant();
    may_have_come ? note_left(waiter.entry_->value()) : expect(waiter.entry_->value());
  }
  const bool is_passed_over = how == Waiter::Ending::gone && !waiter.is_moved_;
  if (is_passed_over && std::exchange(passed_over_, true)) {
    lose({make_error_code(Errc::timed_out)});  // passed over twice, with no message in between
  }
  waiter.node_.splice(waiter.node_.end(), entered_, waiter.stands_);
  waiter.news_ = 0;
  appoint_listener(nullptr);
  return std::move(waiter.entry_);
}

/// When the message for an earlier grant is late by command_timeout, the subscription is dead.
void GrantListener::expect(const std::string& value) noexcept {
  if (!subscription_.is_open() && !busy_) return;
  if (is_late()) lose({make_error_code(Errc::timed_out)});
  try {
    expected_.push_back({.value = value, .since = BootClock::now()});
  } catch (const std::bad_alloc&) {
    lose({make_error_code(std::errc::not_enough_memory)});  // then the message never comes
  }
}

/// Looks at the oldest one, which is first in the list.
bool GrantListener::is_late() const noexcept {
  return !expected_.empty() &&
         BootClock::now() - expected_.front().since > settings_.options.command_timeout;
}

/// A grant with this value may still come here, or may not.
void GrantListener::note_left(const std::string& value) noexcept {
  const TimePoint now = BootClock::now();
  left_.remove_if([&](const ExpectedGrant& one) { return now - one.since > max_left; });
  try {
    if (subscription_.is_open()) left_.push_back({.value = value, .since = now});
  } catch (const std::bad_alloc&) {
    lose({make_error_code(std::errc::not_enough_memory)});
  }
}

/// A message about the entry may still come here, with a grant that is not to be given back: the
/// waiter learns of it by its next refresh, at the other node.
void GrantListener::move(LocalWaiter& waiter, GrantListener& to) noexcept {
  const unsigned news = waiter.news_;
  LeasePtr entry = remove(waiter, Waiter::Ending::settled);
  note_left(entry->value());
  to.add(waiter, std::move(entry));
  waiter.news_ = news | LocalWaiter::changed;
  waiter.is_moved_ = true;
}

void GrantListener::pass_on(LocalWaiter& from, LocalWaiter& to) noexcept {
  const unsigned news = from.news_;
  add(to, remove(from, Waiter::Ending::settled));
  to.news_ = news;
}

bool GrantListener::listen(LocalWaiter& waiter, TimePoint end) {
  assert(can_listen() && listener_ == nullptr && waiter.entry_);
  busy_ = true;
  listener_ = &waiter;
  is_woken_ = false;
  const bool is_done = poll_for(waiter, end);
  if (is_woken_) event_fd_.clear();
  assert(busy_ && listener_ == &waiter);
  listener_ = nullptr;
  busy_ = false;
  read_at_ = BootClock::now();
  if (is_done) {
    appoint_listener(&waiter);
  } else {
    help_.look_later();
  }
  return is_done;
}

/// Wakes one waiter that has an entry, so that it becomes the listener; not `but`, which comes back
/// to listen by itself.
void GrantListener::appoint_listener(const LocalWaiter* but) noexcept {
  if (busy_) return;
  const auto other = std::find_if(entered_.begin(), entered_.end(),
                                  [&](const LocalWaiter* one) REDLATCH_REQUIRES(wait_mutex) {
                                    return one != but && one->listens();
                                  });
  if (other != entered_.end()) post(**other);
  help_.look_later();
}

/// Polls the subscription with the mutex released, and reads what comes, for all waiters.
bool GrantListener::poll_for(const LocalWaiter& waiter, TimePoint end) noexcept {
  while (!is_woken_ && !waiter.has_news() && BootClock::now() < end) {
    std::array<pollfd, 2> watched{{{.fd = subscription_.fd(), .events = POLLIN, .revents = 0},
                                   {.fd = event_fd_.fd(), .events = POLLIN, .revents = 0}}};
    try {
      const Unlocked unlocked(mutex());
      poll_until(watched, end);
    } catch (const std::exception&) {
      return false;  // the system cannot wait for the moment
    }
    if (watched[0].revents != 0 && subscription_.is_open()) receive_available();
  }
  return true;
}

bool GrantListener::wake(const LocalWaiter& waiter) noexcept {
  if (&waiter != listener_) return false;
  is_woken_ = true;
  event_fd_.signal();
  return true;
}

void GrantListener::receive_while_idle() noexcept {
  if (can_listen()) receive_available();
}

/// A topology that has a version knows whether the subscription leads to the new server. Without
/// one, a subscription that is new is taken to do so.
void GrantListener::drop() noexcept {
  constexpr std::chrono::milliseconds is_new{50};
  if (!is_refused_) not_before_ = {};
  const bool leads_elsewhere =
      settings_.topology->version() > 0 ? is_moved() : BootClock::now() - open_since_ >= is_new;
  if (leads_elsewhere) {
    lose({make_error_code(Errc::not_writable),
          "the server refuses the commands of another connection"});
  }
}

/// Whether the subscription is at a former primary.
bool GrantListener::is_moved() const noexcept {
  return subscription_.is_open() && subscription_.version() != settings_.topology->version();
}

/// Reads the messages and notifies the waiters. Grants for waiters that have left are given back
/// with the mutex released, since that uses a connection.
void GrantListener::receive_available() noexcept {
  assert(subscription_.is_open());
  std::vector<Subscription::Message> strays;
  try {
    for (Subscription::Message& message : subscription_.receive_available()) {
      passed_over_ = false;
      if (!deliver(message) && !help_.is_for_another(message)) strays.push_back(std::move(message));
    }
  } catch (const IoError& error) {
    lose(error.failure());
  } catch (const std::bad_alloc&) {
    lose({make_error_code(std::errc::not_enough_memory)});
  }
  if (strays.empty()) return;
  const Unlocked unlocked(mutex());
  for (const Subscription::Message& grant : strays) help_.give_back(grant.key, grant.value);
}

/// Notifies the waiters that the message is for. False when it is a grant for a waiter that has
/// left.
bool GrantListener::deliver(const Subscription::Message& message) noexcept {
  using Kind = Subscription::Message::Kind;
  bool delivered = message.kind != Kind::grant;
  for (LocalWaiter* waiter : entered_) {
    const bool is_meant = message.kind == Kind::flush ||
                          (message.kind == Kind::change ? message.key == waiter->key_
                                                        : message.value == waiter->entry_->value());
    if (!is_meant) continue;
    delivered = true;
    note_news(*waiter, message.kind);
    if (waiter != listener_) post(*waiter);  // the listener sees its news in `poll_for`
  }
  return delivered || forget_expected(message.value);
}

/// A grant by a server that is not trusted has the waiter ask it, and its answer is confirmed. The
/// background thread may not have heard yet that the server is another one: this process may have
/// been stopped.
void GrantListener::note_news(LocalWaiter& waiter,
                              Subscription::Message::Kind kind) const noexcept {
  if (kind != Subscription::Message::Kind::grant) {
    waiter.news_ |= LocalWaiter::changed;
    return;
  }
  settings_.topology->attend();
  if (!is_moved() && settings_.topology->is_trusted(BootClock::now())) {
    waiter.news_ = (waiter.news_ & ~LocalWaiter::doubted) | LocalWaiter::granted;
  } else if (!waiter.is_granted()) {
    waiter.news_ |= LocalWaiter::granted | LocalWaiter::doubted | LocalWaiter::changed;
  }
}

/// Whether a grant with this value was expected, or was possible.
bool GrantListener::forget_expected(const std::string& value) noexcept {
  const auto is_same = [&](const ExpectedGrant& one) { return one.value == value; };
  return expected_.remove_if(is_same) + left_.remove_if(is_same) > 0;
}

/// Closes the subscription. Messages may be missing, so every waiter asks the server. After a
/// failover, whatever is wrong with it has the failover for its cause.
void GrantListener::lose(const Failure& why) noexcept {
  if (!subscription_.is_open()) return;
  const bool is_former = is_moved();
  subscription_.close();
  expected_.clear();
  left_.clear();
  help_.record_event(
      {.kind = EventKind::disconnected,
       .elapsed = BootClock::now() - open_since_,
       .why = is_former ? Failure{make_error_code(Errc::not_writable), another_is_primary} : why});
  note_change_of_all();
}

void GrantListener::note_change_of_all() noexcept {
  for (LocalWaiter* waiter : entered_) {
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
  entered_.clear();
  expected_.clear();
  left_.clear();
  event_fd_.close();
  not_before_ = {};
}

}  // namespace redlatch::detail
