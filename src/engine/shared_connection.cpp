#include "engine/shared_connection.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include <redlatch/protocol/reply.hpp>

#include "base/io_error.hpp"
#include "base/unlocked.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {
void SharedConnection::execute(const Request& request, Response& response, ConnectPolicy policy,
                               TimePoint end) {
  const bool outdated = execute_once(request, response, policy, end);
  // This retry reorders nothing: no other request about this lease exists, and the server refused
  // the first one for certain.
  if (!outdated || policy == ConnectPolicy::never || BootClock::now() >= end) return;
  response = {};
  static_cast<void>(execute_once(request, response, policy, end));
}

/// True when the server refused because it is not a primary (any more), on a connection that is not
/// new: the next connection may lead to another server.
bool SharedConnection::execute_once(const Request& request, Response& response,
                                    ConnectPolicy policy, TimePoint end) {
  Call call{.request = request, .response = response, .end = end};
  Guard guard(mutex_);
  const Deadline deadline{policy, end, connecting_time()};
  multiplexer_.queue(call);
  if (!has_leader_.exchange(true)) call.state = Call::State::leading;
  while (!call.done()) {
    if (call.is_leading()) {
      lead(call, deadline, guard);
    } else {
      await(call, deadline, guard);
    }
  }
  if (guard.owns_lock()) guard.unlock();
  conclude(call);
  return call.outdated;
}

void SharedConnection::begin(Call& call) {
  Guard guard(mutex_);
  multiplexer_.queue(call);
  if (has_leader_.exchange(true)) return;
  try {
    multiplexer_.check_connection(BootClock::now(), Multiplexer::Probe::seldom);
  } catch (const IoError& error) {
    multiplexer_.fail_connection(&error);
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr);
  }
  pass_on(RefusedReleases::to_sink, guard);
}

void SharedConnection::extend(Call& call, TimePoint end) noexcept {
  const Guard guard(mutex_);
  call.end = end;
}

void SharedConnection::leave(Call& call) noexcept {
  Guard guard(mutex_);
  while (call.retrying && !call.done()) {
    guard.unlock();
    call.baton.wait();
    ++call.posts_taken;
    guard.lock();
  }
  if (!call.done()) multiplexer_.give_up(call, Errc::timed_out, "no answer within server_timeout");
  // The caller may send a cleanup release behind its request on this connection.
  if (!has_leader_.exchange(true)) pass_on(RefusedReleases::to_sink, guard, StaleConnection::keep);
}

void SharedConnection::conclude(Call& call) {
  call.take_posts();
  const Request& request = call.request;
  if (call.broken && call.in_doubt && request.cleanup != nullptr) {
    PendingRequests pending = release_of(request.key, *request.cleanup, *settings_.routes);
    pending.front().release.broke(Errc::unreachable, BootClock::now());
    sink_.repeat_later(std::move(pending));
  }
  if (call.out_of_memory) throw std::bad_alloc();
  if (call.failure) {
    call.response.failure = protocol::about(call.failure->code(), request.key, settings_.server,
                                            call.failure->what(), call.in_doubt);
  }
}

SharedConnection::PostResult SharedConnection::post(std::string_view key,
                                                    const CleanupRelease& cleanup) noexcept {
  Guard guard(mutex_);
  if (!multiplexer_.connected() && !connecting_) return PostResult::no_connection;
  // With a leader, the release is queued: the leader runs it with exclusive use if need be.
  if (!has_leader_ && multiplexer_.needs_exclusive_use(cleanup.command))
    return PostResult::needs_exclusive_use;
  try {
    multiplexer_.queue(key, cleanup);
  } catch (const std::bad_alloc&) {
    return PostResult::no_memory;
  }
  if (!has_leader_.exchange(true)) pass_on(RefusedReleases::to_sink, guard);
  return PostResult::yes;
}

bool SharedConnection::renew(Lease& lease) noexcept {
  const Guard guard(mutex_);
  try {
    multiplexer_.queue(lease);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void SharedConnection::repeat(PendingRequests releases, TimePoint latest, int cancel) noexcept {
  Guard guard(mutex_);
  multiplexer_.queue(std::move(releases));
  if (has_leader_.exchange(true)) return;
  try {
    multiplexer_.check_connection(BootClock::now());
    if (!multiplexer_.connected() && may_connect()) {
      connect(nullptr, {ConnectPolicy::within_timeout, latest, connecting_time()}, cancel, guard);
    } else if (!multiplexer_.connected() && failure_) {
      multiplexer_.fail_queued(*failure_);
    }
    retry_renewals(std::min(latest, command_end()), guard);
  } catch (const IoError& error) {
    multiplexer_.fail_connection(&error);
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr);
  }
  pass_on(RefusedReleases::to_sink, guard);
}

/// Some servers take renewals only with exclusive use, which `send_queued` leaves to the retries.
void SharedConnection::retry_renewals(TimePoint end, Guard& guard) {
  if (!multiplexer_.connected() || !multiplexer_.all_answered()) return;
  multiplexer_.send_queued(Multiplexer::Send::background, BootClock::now());
  if (multiplexer_.all_answered()) multiplexer_.retry_refused(end, nullptr, guard);
}

bool SharedConnection::receive_available(TimePoint end) noexcept {
  Guard guard(mutex_);
  if (has_leader_) return true;
  if (!multiplexer_.connected() || !multiplexer_.owes()) return false;
  has_leader_ = true;
  try {
    multiplexer_.receive_available();
    if (multiplexer_.all_answered())
      multiplexer_.retry_refused(std::min(end, command_end()), nullptr, guard);
    if (multiplexer_.has_queued()) multiplexer_.check_connection(BootClock::now());
  } catch (const IoError& error) {
    multiplexer_.fail_connection(&error);
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr);
  }
  pass_on(RefusedReleases::to_sink, guard);
  guard.lock();
  return has_leader_ || multiplexer_.owes();
}

void SharedConnection::finish(TimePoint end) noexcept {
  Guard guard(mutex_);
  assert(!has_leader_ && !multiplexer_.awaited());
  has_leader_ = true;
  try {
    do {
      while (multiplexer_.connected() && !multiplexer_.all_answered())
        multiplexer_.read(end, guard);
      if (!multiplexer_.connected()) break;
      multiplexer_.retry_refused(end, nullptr, guard);
      if (multiplexer_.all_answered() && multiplexer_.has_retrying()) break;  // no time is left
    } while (multiplexer_.connected() &&
             (multiplexer_.send_queued(Multiplexer::Send::background, BootClock::now()) ||
              multiplexer_.owes()));
  } catch (const IoError& error) {
    multiplexer_.fail_connection(&error);
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr);
  }
  multiplexer_.leave_retries_to_sink();
  pass_on(RefusedReleases::to_sink, guard);
}

/// One turn of a follower: gives up, or sleeps until its baton is posted. While the leader
/// connects, the follower waits for `connect_timeout` longer: a failure is shared by all followers,
/// so that a dead server costs each of them one `connect_timeout` and not one behind the other. A
/// call that a leader is retrying waits without a deadline, as its request cannot be taken out of
/// the leader's hands; the leader keeps to `Call::end`.
void SharedConnection::await(Call& call, const Deadline& deadline, Guard& guard) {
  if (!guard.owns_lock()) guard.lock();
  if (call.state != Call::State::following) return;
  if (connecting_ && deadline.policy == ConnectPolicy::never) {
    return multiplexer_.give_up(call, Errc::unreachable, "there is no connection yet");
  }
  const bool others_connect = connecting_ && deadline.policy == ConnectPolicy::separate_timeout;
  const TimePoint end =
      others_connect ? deadline.end + settings_.options.connect_timeout : end_of(call, deadline);
  call.end = end;
  if (BootClock::now() >= end && !call.retrying && !begin_grace(call)) {
    return multiplexer_.give_up(call, Errc::timed_out,
                                call.pending->status == PendingRequest::Status::queued
                                    ? "others kept the connection for all of command_timeout"
                                    : "no answer within command_timeout");
  }
  const bool retrying = call.retrying;
  guard.unlock();
  if (retrying) {
    call.baton.wait();
    ++call.posts_taken;
  } else if (call.baton.wait_until(std::max(end, call.grace_until))) {
    ++call.posts_taken;
  }
}

/// Does I/O as the leader until the call is done and the lead is passed on, or until another call
/// is appointed. Returns without the mutex.
void SharedConnection::lead(Call& call, const Deadline& deadline, Guard& guard) {
  if (!guard.owns_lock()) guard.lock();
  bool in_time = true;
  do {
    // Refused releases are retried at once; a refused call retries as the leader, with its own
    // deadline.
    while (in_time && (call.is_leading() ||
                       (multiplexer_.has_retrying() && multiplexer_.next_leader() == nullptr))) {
      in_time = try_step(call, deadline, guard);
      if (call.state == Call::State::following) return multiplexer_.wake(guard);
      if (!multiplexer_.has_calls_to_wake()) continue;
      multiplexer_.wake(guard);
      guard.lock();
    }
  } while (!pass_on(in_time ? RefusedReleases::retry : RefusedReleases::to_sink, guard));
}

/// One step, with its failure dealt with. False when the step timed out although the call is done:
/// the next leader has more time for the rest.
bool SharedConnection::try_step(Call& call, const Deadline& deadline, Guard& guard) {
  try {
    step(call, deadline, guard);
  } catch (const IoError& error) {
    if (error.code() != Errc::timed_out) {
      multiplexer_.fail_connection(&error);
    } else if (call.done()) {
      return false;
    } else if (begin_grace(call)) {
      read_overdue();
    } else {
      multiplexer_.give_up(call, error.code(), error.what());
    }
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr);
    if (!call.done()) multiplexer_.fail_queued(call, nullptr);
  }
  return true;
}

void SharedConnection::step(Call& call, const Deadline& deadline, Guard& guard) {
  assert(guard.owns_lock() && has_leader_);
  const TimePoint end = end_of(call, deadline);
  call.end = end;
  if (multiplexer_.has_retrying() && multiplexer_.all_answered())
    return retry_refused(call, end, guard);
  if (multiplexer_.has_retrying() || multiplexer_.awaited()) return multiplexer_.read(end, guard);

  // No call awaits a reply, so this call is still in the queue.
  const TimePoint now = BootClock::now();
  if (now >= end) {
    throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
  }
  multiplexer_.check_connection(now);
  if (!multiplexer_.connected()) return connect(&call, deadline, never_cancelled, guard);
  if (multiplexer_.has_retrying()) return;
  Call* const alone = multiplexer_.first_needing_exclusive_use();
  if (alone == nullptr) {
    multiplexer_.send_queued(Multiplexer::Send::all, now);
    multiplexer_.flush(end, guard);
  } else if (alone != &call) {
    call.state = Call::State::following;
    multiplexer_.appoint(*alone);
  } else if (multiplexer_.all_answered()) {
    multiplexer_.run_exclusively(call, end, guard);
  } else {
    multiplexer_.read(end, guard);
  }
}

/// Retries up to the first refused request of another call that can lead, and appoints that call,
/// so that its own deadline applies: if this call has less time, its time-out would break the
/// connection under the other.
void SharedConnection::retry_refused(Call& call, TimePoint end, Guard& guard) {
  if (BootClock::now() >= end) {
    throw IoError(Errc::timed_out, "no answer within command_timeout");
  }
  multiplexer_.retry_refused(end, &call, guard);
  Call* const next = multiplexer_.first_refused();
  if (!call.is_leading() || next == nullptr || next == &call || !multiplexer_.all_answered())
    return;
  call.state = Call::State::following;
  multiplexer_.appoint(*next);
}

/// The leader leaves. If no call awaits a reply, sends what is queued, so that the server works on
/// it while the next leader wakes up. Then appoints the next leader, or leaves the connection
/// without one, and releases the mutex. Returns false, with the mutex and as the leader still, when
/// refused releases have to be retried first.
bool SharedConnection::pass_on(RefusedReleases releases, Guard& guard,
                               StaleConnection stale) noexcept {
  assert(guard.owns_lock() && has_leader_ && multiplexer_.is_consistent());
  read_overdue();
  if (!multiplexer_.awaited() && multiplexer_.is_stale()) multiplexer_.leave_retries_to_sink();
  while (multiplexer_.connected() && multiplexer_.has_queued() && !multiplexer_.awaited() &&
         !multiplexer_.has_retrying()) {
    try {
      const bool silent = multiplexer_.is_stale();
      const auto which = silent ? Multiplexer::Send::releases : Multiplexer::Send::all;
      if (!multiplexer_.send_queued(which, BootClock::now())) break;
      multiplexer_.try_flush(guard);
    } catch (const IoError& error) {
      multiplexer_.fail_connection(&error);
    } catch (const std::bad_alloc&) {
      multiplexer_.fail_connection(nullptr);
    }
  }
  if (stale == StaleConnection::retire) multiplexer_.retire_if_stale();
  if (Call* const next = multiplexer_.next_leader(); next != nullptr) {
    multiplexer_.appoint(*next);
  } else if (releases == RefusedReleases::retry && multiplexer_.has_retrying()) {
    return false;
  } else {
    has_leader_ = false;
    multiplexer_.repeat_releases_later(failure_ ? failure_->code() : Errc::unreachable);
    if (multiplexer_.owes()) sink_.expect_answers();
  }
  assert(multiplexer_.is_consistent());
  multiplexer_.wake(guard);
  return true;
}

/// Gives a call whose time is over its grace period, once: if this process was stopped meanwhile,
/// the reply may be there already. False when the call had it, or there is no connection.
bool SharedConnection::begin_grace(Call& call) const noexcept {
  if (!multiplexer_.connected() || call.grace_until != TimePoint{}) return false;
  const TimePoint now = BootClock::now();
  call.grace_until = now + Multiplexer::grace_for(now - call.end);
  return true;
}

/// Reads what has come if a reply is overdue, and drops a connection to a server that is not a
/// primary any more.
void SharedConnection::read_overdue() noexcept {
  try {
    multiplexer_.read_if_overdue();
    multiplexer_.drop_outdated();
  } catch (const IoError& error) {
    multiplexer_.fail_connection(&error);
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr);
  }
}

void SharedConnection::after_fork_in_child() noexcept {
  multiplexer_.abandon(has_leader_);
  has_leader_ = false;
  connecting_ = false;
  failure_.reset();
  mutex_.unlock();
}

/// Whether `ConnectSchedule` lets the background thread connect now.
bool SharedConnection::may_connect() noexcept {
  const ConnectSchedule& schedule = multiplexer_.schedule();
  return BootClock::now() >=
         (multiplexer_.has_renewals() ? schedule.next_for_renewals() : schedule.next());
}

/// Waits, with the mutex released, until `next`, or until queued renewals need a connection sooner.
void SharedConnection::await_attempt(TimePoint next, Guard& guard) {
  constexpr std::chrono::milliseconds check_period{10};
  while (BootClock::now() < next && !may_connect()) {
    const Unlocked unlocked(guard);
    poll_until({}, std::min(next, BootClock::now() + check_period));
  }
}

/// Opens the connection with the mutex released. A leader with a call, which is in the queue, waits
/// until `ConnectSchedule` allows the attempt; the background thread comes when it is allowed. All
/// queued calls share the outcome.
void SharedConnection::connect(Call* call, const Deadline& deadline, int cancel, Guard& guard) {
  assert(guard.owns_lock() && has_leader_ && !connecting_ && !multiplexer_.connected());
  if (deadline.policy == ConnectPolicy::never) {
    return multiplexer_.give_up(*call, Errc::unreachable, "there is no connection");
  }
  const bool separate_timeout = deadline.policy == ConnectPolicy::separate_timeout;
  const std::chrono::nanoseconds max_time = settings_.options.connect_timeout;
  const TimePoint start = BootClock::now();
  const TimePoint end = separate_timeout
                            ? start + max_time - (connecting_time() - deadline.connected_before)
                            : std::min(start + max_time, deadline.end);
  const bool full = end == start + max_time;
  const TimePoint next = call == nullptr ? start : multiplexer_.schedule().next();
  if (call != nullptr && next >= end && failure_) {
    return multiplexer_.fail_queued(*call, &*failure_);
  }
  connecting_ = true;
  connecting_since_ = start;
  std::unique_ptr<Connection> connection;
  std::shared_ptr<const void> alive;
  std::optional<IoError> failure;
  try {
    await_attempt(next, guard);
    multiplexer_.schedule().attempted(BootClock::now());
    const Unlocked unlocked(guard);
    connection = std::make_unique<Connection>(settings_, end, cancel);
    alive = std::make_shared<char>();
  } catch (const Cancelled&) {
    // Only the background thread cancels, so there is no call, and the server is not to blame.
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // Neither a connection nor an error: callers get std::bad_alloc.
    connection.reset();
  }
  const TimePoint done = BootClock::now();
  connected_for_ += done - start;
  connecting_ = false;
  if (failure) {
    multiplexer_.schedule().failed(done);
    failure_.emplace(failure->code(), failure->what());
  }
  if (connection) {
    multiplexer_.schedule().succeeded(done);
    failure_.reset();
    sink_.record_event(EventKind::connected, {}, start, {});
  }
  multiplexer_.connected_by(std::move(connection), std::move(alive));
  multiplexer_.wake_queued();  // the followers' deadlines have changed
  if (multiplexer_.connected()) return;
  // If only this call's time was too short, calls with more time left try for themselves.
  if (failure && (full || done < end)) {
    multiplexer_.fail_queued(*failure);
  } else if (call != nullptr) {
    multiplexer_.fail_queued(*call, failure ? &*failure : nullptr);
  }
}

std::chrono::nanoseconds SharedConnection::connecting_time() const noexcept {
  return connected_for_ +
         (connecting_ ? BootClock::now() - connecting_since_ : std::chrono::nanoseconds::zero());
}

TimePoint SharedConnection::end_of(const Deadline& deadline) const noexcept {
  if (deadline.policy != ConnectPolicy::separate_timeout) return deadline.end;
  return deadline.end +
         std::min<std::chrono::nanoseconds>(connecting_time() - deadline.connected_before,
                                            settings_.options.connect_timeout);
}

}  // namespace redlatch::detail
