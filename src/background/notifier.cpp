#include "background/notifier.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <redlatch/detail/thread_name.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/quiet_thread.hpp"
#include "base/unlocked.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {

Notifier::Notifier(OnEvent on_event, Forward forward, Renewer& renewer, std::string server)
    : on_event_(std::make_shared<const OnEvent>(std::move(on_event))),
      forward_(std::move(forward)),
      renewer_(renewer),
      server_(std::move(server)) {
  renewer_.notify(event_fd_);
}

void Notifier::record_event(const EventRecord& record) noexcept {
  counters_.count(record.kind);
  if (record.is_single_attempt) counters_.count_missed();
  if (forward_) {
    EventRecord forwarded = record;
    forwarded.server = server_;
    forwarded.is_counted_only = is_counted_only(record);
    return forward_(forwarded);
  }
  if (!*on_event_ || is_counted_only(record)) return;
  const MutexLock lock(mutex_);
  enqueue(record);
}

/// Of a quorum, the client of the server decides, which knows of no other server.
bool Notifier::is_counted_only(const EventRecord& record) noexcept {
  const bool is_connect = record.kind == EventKind::connect_failed;
  if (!(is_connect || record.kind == EventKind::attempt_failed) || !record.server.empty()) {
    return record.is_counted_only;
  }
  const TimePoint now = BootClock::now();
  const MutexLock lock(mutex_);
  TimePoint& next = is_connect ? next_connect_failed_ : next_attempt_failed_;
  if (now < next) return true;
  next = now + failed_interval;
  return false;
}

void Notifier::enqueue(const EventRecord& record) noexcept {
  const EventKind kind = record.kind;
  const bool is_success = kind == EventKind::acquired || kind == EventKind::contended ||
                          kind == EventKind::renewed || kind == EventKind::released;
  if (events_->size() >= (is_success ? max_queued_successes : max_queued))
    return counters_.count_dropped();
  const std::string_view server = record.server.empty() ? server_ : record.server;
  const int holder =
      record.about != nullptr ? renewer_.holding_thread(record.key, *record.about) : 0;
  const bool holds_itself = holder != 0 && holder == thread_number();
  try {
    events_->push_back(
        {.kind = kind,
         .key = std::string(record.key),
         .elapsed = std::chrono::duration_cast<std::chrono::microseconds>(record.elapsed),
         .error = holds_itself ? make_error_code(std::errc::resource_deadlock_would_occur)
                               : record.why.code,
         .detail = detail_of(record, server, holder),
         .server = std::string(server)});
  } catch (const std::bad_alloc&) {
    return counters_.count_dropped();
  }
  // The thread is awake by then, or will be: one wake-up serves all successes of 50 ms.
  if (is_success && deliver_at_ != TimePoint::max()) return;
  const TimePoint now = BootClock::now();
  deliver_at_ = is_success ? now + max_delay : now;
  static_cast<void>(start());
  event_fd_.signal();
}

/// Throws `std::bad_alloc`.
std::string Notifier::detail_of(const EventRecord& record, std::string_view server, int holder) {
  std::string detail(record.detail);
  std::string explanation(record.why.text);
  if (holder != 0) explanation = held_by_thread(holder);
  if (detail.empty() && (record.why.code || !explanation.empty())) {
    detail = "redlatch: ";
    if (!record.key.empty()) detail += "lock \"" + protocol::printable(record.key) + "\" on ";
    detail += server;
    if (!explanation.empty()) detail += ": " + explanation;
    if (record.why.code) detail += ": " + record.why.code.message();
  }
  if (detail.size() > max_detail) detail.resize(max_detail);
  return detail;
}

std::error_code Notifier::ensure_started() noexcept {
  const MutexLock lock(mutex_);
  return start();
}

std::error_code Notifier::start() noexcept {
  if (thread_.joinable() || stopping_) return {};
  try {
    event_fd_.open();
    gone_ = std::make_shared<bool>(false);
    thread_ = thread_without_signals([this] { run(); });
    return {};
  } catch (...) {
    return code_of_shortage();  // queued events wait for the next start, or for `finish`
  }
}

void Notifier::finish() noexcept {
  MutexLock lock(mutex_);
  assert(!stopping_);
  stopping_ = true;  // so that no thread is started any more
  event_fd_.signal();
  // Three ways: a callback ends the client, so that its thread cannot be joined; the usual one; and
  // a thread that the system did not give, whose events this one delivers.
  if (thread_.get_id() == std::this_thread::get_id()) {
    assert(gone_ != nullptr && !*gone_);
    *gone_ = true;
    thread_.detach();
  } else if (thread_.joinable()) {
    std::thread ending = std::move(thread_);
    lock.unlock();
    ending.join();
  } else {
    const bool gone = false;
    notify(lock, *on_event_, gone);
  }
}

/// The thread shares `on_event_` and `gone_`, as a callback may end the object.
void Notifier::run() noexcept {
  MutexLock lock(mutex_);
  const std::shared_ptr<const OnEvent> on_event = on_event_;
  const std::shared_ptr<const bool> gone = gone_;
  for (;;) {
    const bool stopping = stopping_;
    notify(lock, *on_event, *gone);
    if (*gone || stopping) return;
    rest();
  }
}

/// One callback at a time, losses first, each with the mutex released. `events` and `on_event` are
/// this thread's own shares: behind a callback that has set `gone`, no member may be touched.
void Notifier::notify(MutexLock& lock, const OnEvent& on_event, const bool& gone) noexcept {
  const std::shared_ptr<Events> events = events_;
  deliver_at_ = TimePoint::max();
  for (;;) {
    std::optional<Loss> loss = gone ? std::nullopt : renewer_.next_loss(BootClock::now());
    if (loss) {
      counters_.count(EventKind::lost);
      if (on_event) {
        enqueue({.kind = EventKind::lost,
                 .key = loss->key,
                 .elapsed = loss->held,
                 .why = {loss->code, loss->explanation}});
      }
    } else if (events->empty()) {
      break;
    }
    Events event;
    if (!loss) event.splice(event.end(), *events, events->begin());
    if (!gone) lock.unlock();
    if (loss) {
      loss->notified.request_stop();
    } else {
      on_event(event.front());
    }
    if (!gone) lock.lock();
  }
  // Events that were queued during the callbacks are delivered by now.
  if (!gone) deliver_at_ = TimePoint::max();
}

/// Sleeps until an event or a loss is due, or `event_fd_` is signalled.
void Notifier::rest() noexcept {
  const TimePoint end = stopping_ ? TimePoint{} : std::min(deliver_at_, renewer_.next_loss_at());
  std::array<pollfd, 1> watched{{{.fd = event_fd_.fd(), .events = POLLIN, .revents = 0}}};
  {
    const Unlocked unlocked(mutex_);
    try {
      poll_until(watched, end);
    } catch (const std::exception&) {
      // The system has no memory for a moment: the loop looks at once whether something is due.
    }
  }
  event_fd_.clear();
}

// The events are the parent's, which delivers them. A callback that has forked returns to `notify`
// in the child, on a thread of which this object knows nothing any more: its `gone` is set.
void Notifier::after_fork_in_child() noexcept {
  events_->clear();
  deliver_at_ = TimePoint::max();
  next_connect_failed_ = next_attempt_failed_ = {};
  if (gone_) *gone_ = true;
  gone_.reset();
  std::construct_at(&thread_);
  event_fd_.close();
  mutex_.unlock();
}

}  // namespace redlatch::detail
