#include "engine/shared_connection.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <stop_token>
#include <system_error>
#include <utility>

#include <redlatch/protocol/reply.hpp>

#include "base/event_fd.hpp"
#include "base/io_error.hpp"
#include "base/memory_retry.hpp"
#include "net/poll.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

namespace {

constexpr const char* is_stopped_text = "it was not waited for any longer, as a stop was requested";

}  // namespace

/// Holds the mutex of a connection until the end of the scope. What the multiplexer has left over
/// is handed on before the mutex is released, and calls whose state has changed are woken behind
/// that, so that no thread wakes up only to wait for the mutex.
class REDLATCH_SCOPED_CAPABILITY SharedConnection::Section {
 public:
  explicit Section(SharedConnection& connection) REDLATCH_ACQUIRE(connection.mutex_)
      : connection_(connection) {
    connection_.mutex_.lock();
  }
  Section(const Section&) = delete;
  Section& operator=(const Section&) = delete;
  // The analysis does not know that this object holds the mutex of its connection.
  ~Section() REDLATCH_RELEASE() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    connection_.hand_on_leftovers();
    WakeQueue woken = connection_.multiplexer_.take_calls_to_wake();
    connection_.mutex_.unlock();
    woken.wake();
  }

 private:
  SharedConnection& connection_;
};

/// Releases the mutex as the end of a `Section` does, and takes it again at the end of the scope.
class REDLATCH_SCOPED_CAPABILITY SharedConnection::Pause {
 public:
  explicit Pause(SharedConnection& connection) REDLATCH_RELEASE(connection.mutex_)
      : connection_(connection) {
    connection_.hand_on_leftovers();
    WakeQueue woken = connection_.multiplexer_.take_calls_to_wake();
    connection_.mutex_.unlock();
    woken.wake();
  }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;
  // The analysis does not know which mutex the end of this object takes.
  ~Pause() REDLATCH_RELEASE() REDLATCH_NO_THREAD_SAFETY_ANALYSIS { connection_.mutex_.lock(); }

 private:
  SharedConnection& connection_;
};

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
  Deadline deadline{policy, end, {}};
  TimePoint until{};
  {
    const Section section(*this);
    deadline.connected_before = connecting_time();
    // Other requests need no such time, and reading the clock costs as much as all of this.
    const bool blocks = request.blocks > std::chrono::milliseconds::zero();
    multiplexer_.queue(call, blocks ? BootClock::now() : TimePoint{});
    if (has_leader_.exchange(true)) {
      until = check_follower(call, deadline);
    } else {
      call.state = Call::State::leading;
      lead(call, deadline);
    }
  }
  if (!call.done()) follow(call, deadline, until);
  conclude(call);
  return call.outdated;
}

/// Sleeps until the call is done, or appointed: then it leads. The state of a call that is done is
/// read without the mutex, for which many threads that are woken at once would wait.
void SharedConnection::follow(Call& call, const Deadline& deadline, TimePoint until) {
  const std::stop_token* const stop = call.request.stop;
  const std::stop_callback stopping(stop != nullptr ? *stop : std::stop_token(),
                                    [&] { wake(call); });
  while (!call.done()) {
    if (call.baton.wait_until(until)) ++call.posts_taken;
    if (call.done()) return;
    const Section section(*this);
    if (call.is_leading()) {
      lead(call, deadline);
    } else if (!call.done()) {
      until = check_follower(call, deadline);
    }
  }
}

/// Has a follower look whether it is stopped. Called by the thread that requests the stop. It posts
/// with the mutex, as the call may be in the list of those that another thread wakes.
void SharedConnection::wake(Call& call) noexcept {
  const MutexLock lock(mutex_);
  if (call.done()) return;
  ++call.posts;
  call.baton.post();
}

void SharedConnection::begin(Call& call) {
  const Section section(*this);
  const TimePoint now = BootClock::now();
  multiplexer_.queue(call, now);
  if (has_leader_.exchange(true)) return;
  survive([&]() REDLATCH_REQUIRES(mutex_) { check_connection(now, Multiplexer::Probe::seldom); });
  pass_on(RefusedReleases::leave, now);
}

void SharedConnection::extend(Call& call, TimePoint end) noexcept {
  const MutexLock lock(mutex_);
  call.end = end;
}

void SharedConnection::leave(Call& call) noexcept {
  const Section section(*this);
  const TimePoint now = BootClock::now();
  if (!call.done()) {
    multiplexer_.give_up(call, Errc::timed_out, "no answer within server_timeout", now);
  }
  // The caller may send a cleanup release behind its request on this connection.
  if (!has_leader_.exchange(true)) pass_on(RefusedReleases::leave, now, StaleConnection::keep);
}

void SharedConnection::conclude(Call& call) {
  call.take_posts();
  const Request& request = call.request;
  if (call.broken && call.in_doubt && request.cleanup != nullptr &&
      !settings_.role.is_one_of_several) {
    MemoryRetry retry;
    retry([&] {
      const TimePoint now = BootClock::now();
      PendingRequests pending = release_of(request.key, *request.cleanup, *settings_.routes, now);
      pending.front().release.broke(Errc::unreachable, now);
      sink_.repeat_later(std::move(pending));
      return true;
    });
  }
  if (call.out_of_memory) throw std::bad_alloc();
  if (call.failure) {
    call.response.failure = protocol::about(call.failure->code(), request.key, settings_.server,
                                            call.failure->what(), call.in_doubt);
  }
}

SharedConnection::PostResult SharedConnection::post(std::string_view key,
                                                    const CleanupRelease& cleanup) noexcept {
  const Section section(*this);
  if (!multiplexer_.connected() && !connecting_) return PostResult::no_connection;
  // With a leader, or behind a request with exclusive use, the release is queued.
  if (!has_leader_ && !multiplexer_.is_exclusive() &&
      multiplexer_.needs_exclusive_use(cleanup.command)) {
    return multiplexer_.retried_late() ? PostResult::late : PostResult::needs_exclusive_use;
  }
  const TimePoint now = BootClock::now();
  try {
    multiplexer_.queue(key, cleanup, now);
  } catch (const std::bad_alloc&) {
    return PostResult::no_memory;
  }
  if (!has_leader_.exchange(true)) pass_on(RefusedReleases::leave, now);
  return PostResult::yes;
}

bool SharedConnection::renew(Lease& lease) noexcept {
  const MutexLock lock(mutex_);
  try {
    multiplexer_.queue(lease);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void SharedConnection::repeat(PendingRequests releases, TimePoint latest, int cancel) noexcept {
  const Section section(*this);
  multiplexer_.queue(std::move(releases));
  if (has_leader_.exchange(true)) return;
  survive([&]() REDLATCH_REQUIRES(mutex_) {
    check_connection(BootClock::now());
    if (!multiplexer_.connected() && may_connect()) {
      open(nullptr, {ConnectPolicy::within_timeout, latest, connecting_time()}, cancel);
    } else if (!multiplexer_.connected() && failure_) {
      multiplexer_.fail_queued(*failure_, BootClock::now());
    }
    // Some servers take renewals only with exclusive use.
    if (!multiplexer_.connected() || !multiplexer_.all_answered()) return;
    multiplexer_.fill(Multiplexer::Send::background, BootClock::now());
    drive_retries(std::min(latest, command_end()));
  });
  pass_on(RefusedReleases::leave, BootClock::now());
}

void SharedConnection::leave_renewals() noexcept {
  const Section section(*this);
  if (!has_leader_.exchange(true)) pass_on(RefusedReleases::leave, BootClock::now());
}

void SharedConnection::look() noexcept {
  const Section section(*this);
  if (!multiplexer_.connected() || has_leader_.exchange(true)) return;
  survive([&]() REDLATCH_REQUIRES(mutex_) { receive_now(); });
  pass_on(RefusedReleases::leave, BootClock::now());
}

bool SharedConnection::receive_available(TimePoint end) noexcept {
  const Section section(*this);
  if (has_leader_) return true;
  if (!multiplexer_.connected() || !multiplexer_.owes()) return false;
  has_leader_ = true;
  survive([&]() REDLATCH_REQUIRES(mutex_) {
    receive_now();
    drive_retries(std::min(end, command_end()));
    if (multiplexer_.has_queued()) check_connection(BootClock::now());
  });
  pass_on(RefusedReleases::leave, BootClock::now());
  return has_leader_ || multiplexer_.owes();
}

/// Retries what the server has refused, and reads the replies, until `end` at the latest, or until
/// a reply is not believed before other nodes were asked. A call that can lead retries its own
/// request.
void SharedConnection::drive_retries(TimePoint end) {
  while (multiplexer_.connected() && multiplexer_.has_retrying() &&
         multiplexer_.next_leader() == nullptr) {
    const TimePoint now = BootClock::now();
    if (now >= end) return;
    if (!multiplexer_.is_exclusive()) {
      if (!multiplexer_.all_answered()) return;
      multiplexer_.fill(Multiplexer::Send::background, now);
      continue;
    }
    try {
      read(end, {});
    } catch (const IoError& error) {
      if (error.code() != Errc::timed_out) throw;
      return;  // the replies may still come
    }
  }
}

void SharedConnection::finish(TimePoint end) noexcept {
  const Section section(*this);
  assert(!has_leader_ && !multiplexer_.awaited());
  has_leader_ = true;
  survive([&]() REDLATCH_REQUIRES(mutex_) {
    while (multiplexer_.connected() &&
           (multiplexer_.fill(Multiplexer::Send::background, BootClock::now()) ||
            multiplexer_.owes())) {
      read(end);
    }
  });
  multiplexer_.leave_retries_over(BootClock::now());
  pass_on(RefusedReleases::leave, BootClock::now());
}

/// One turn of a follower: gives up, or returns until when to sleep. While the leader connects, the
/// follower waits for `connect_timeout` longer: a failure is shared by all followers, so that a
/// dead server costs each of them one `connect_timeout` and not one behind the other.
TimePoint SharedConnection::check_follower(Call& call, const Deadline& deadline) {
  const TimePoint now = BootClock::now();
  if (connecting_ && deadline.policy == ConnectPolicy::never) {
    multiplexer_.give_up(call, Errc::unreachable, "there is no connection yet", now);
    return now;
  }
  if (call.request.is_stopped() && call.pending->status == PendingRequest::Status::queued) {
    multiplexer_.give_up(call, Errc::unreachable, is_stopped_text, now);
    return now;
  }
  const bool others_connect = connecting_ && deadline.policy == ConnectPolicy::separate_timeout;
  const TimePoint end =
      others_connect ? deadline.end + settings_.options.connect_timeout : end_of(call, deadline);
  call.end = end;
  if (now >= end && !begin_grace(call, now)) multiplexer_.give_up_late(call, now);
  return std::max(end, call.grace_until);
}

/// Does I/O as the leader until the call is done and the lead is passed on.
void SharedConnection::lead(Call& call, const Deadline& deadline) {
  bool in_time = true;
  do {
    // Refused releases are retried at once.
    while (in_time && (call.is_leading() ||
                       (multiplexer_.has_retrying() && multiplexer_.next_leader() == nullptr))) {
      in_time = try_step(call, deadline);
    }
  } while (!leave_empty() &&
           !pass_on(in_time ? RefusedReleases::retry : RefusedReleases::leave, BootClock::now()));
}

/// The leader leaves a connection on which nothing is queued or outstanding, as a caller without
/// rivals mostly does. False when there is something, and so more to do: see `pass_on`.
bool SharedConnection::leave_empty() noexcept {
  if (multiplexer_.has_queued() || multiplexer_.owes()) return false;
  multiplexer_.drop_outdated();
  has_leader_ = false;
  return true;
}

/// One step, with its failure dealt with. False when the step timed out although the call is done:
/// the next leader has more time for the rest.
bool SharedConnection::try_step(Call& call, const Deadline& deadline) {
  try {
    step(call, deadline);
  } catch (const IoError& error) {
    const TimePoint now = BootClock::now();
    if (error.code() != Errc::timed_out) {
      multiplexer_.fail_connection(&error, now);
    } else if (call.done()) {
      return false;
    } else if (begin_grace(call, now)) {
      survive([&]() REDLATCH_REQUIRES(mutex_) { read_overdue(now); });
    } else {
      multiplexer_.give_up(call, error.code(), error.what(), now);
    }
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr, BootClock::now());
    if (!call.done()) multiplexer_.fail_queued(call, nullptr);
  }
  return true;
}

void SharedConnection::step(Call& call, const Deadline& deadline) {
  assert(has_leader_);
  const TimePoint end = end_of(call, deadline);
  call.end = end;
  if (multiplexer_.has_retrying()) return retry(end);
  if (multiplexer_.awaited()) return read(end);

  // No call awaits a reply, so this call is still in the queue.
  const TimePoint now = BootClock::now();
  if (now >= end) {
    throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
  }
  check_connection(now);
  if (!multiplexer_.connected()) return open(&call, deadline, never_cancelled);
  if (multiplexer_.is_exclusive()) return read_abandoned(end);
  if (multiplexer_.has_retrying()) return;
  multiplexer_.fill(Multiplexer::Send::all, now);
  if (multiplexer_.awaited() && !multiplexer_.has_retrying()) return read(end);
  flush(end);
}

/// Reads the replies to a request that has the connection to itself and was abandoned, for as long
/// as the connection is not found to be silent.
void SharedConnection::read_abandoned(TimePoint end) {
  const TimePoint overdue = multiplexer_.next_verdict(BootClock::now());
  try {
    read(doubted_.empty() ? std::min(end, overdue) : end);
  } catch (const IoError& error) {
    if (error.code() != Errc::timed_out || overdue >= end) throw;
  }
}

/// Sends what was refused, in other forms, or reads the replies to that.
void SharedConnection::retry(TimePoint end) {
  const TimePoint now = BootClock::now();
  if (now >= end) throw IoError(Errc::timed_out, "no answer within command_timeout");
  if (!multiplexer_.all_answered()) return read(end);
  multiplexer_.fill(Multiplexer::Send::all, now);
  flush(end);
}

/// The leader leaves. If no call awaits a reply, sends what is queued, so that the server works on
/// it while the next leader wakes up. Then appoints the next leader, or leaves the connection
/// without one. Returns false, as the leader still, when refused releases have to be retried first.
bool SharedConnection::pass_on(RefusedReleases releases, TimePoint now,
                               StaleConnection stale) noexcept {
  assert(has_leader_ && multiplexer_.is_consistent());
  survive([&]() REDLATCH_REQUIRES(mutex_) { read_overdue(now); });
  const bool silent = !multiplexer_.awaited() && multiplexer_.is_stale(now);
  if (silent) multiplexer_.leave_retries_over(now);
  const auto which = silent ? Multiplexer::Send::releases : Multiplexer::Send::all;
  bool more = true;
  while (more && multiplexer_.connected()) {
    more = false;
    survive([&]() REDLATCH_REQUIRES(mutex_) {
      more = multiplexer_.fill(which, now);
      send_now();
    });
  }
  if (stale == StaleConnection::retire) multiplexer_.retire_if_stale(now);
  if (Call* const next = multiplexer_.next_leader(); next != nullptr) {
    multiplexer_.appoint(*next);
  } else if (releases == RefusedReleases::retry && multiplexer_.has_retrying()) {
    return false;
  } else {
    has_leader_ = false;
    multiplexer_.leave_queued_over(failure_ ? failure_->code() : Errc::unreachable, now,
                                   failure_ ? failure_->what() : "");
    if (multiplexer_.owes()) sink_.expect_answers();
  }
  assert(multiplexer_.is_consistent());
  return true;
}

/// Gives a call whose time is over its grace period, once: if this process was stopped meanwhile,
/// the reply may be there already. False when the call had it, or there is no connection.
bool SharedConnection::begin_grace(Call& call, TimePoint now) const noexcept {
  if (!multiplexer_.connected() || call.grace_until != TimePoint{}) return false;
  call.grace_until = now + Multiplexer::grace_for(now - call.end);
  return true;
}

/// Any failure of the operation is one of the connection.
template <class Operation>
void SharedConnection::survive(Operation operation) noexcept {
  try {
    operation();
  } catch (const IoError& error) {
    multiplexer_.fail_connection(&error, BootClock::now());
  } catch (const std::bad_alloc&) {
    multiplexer_.fail_connection(nullptr, BootClock::now());
  }
}

/// Before something is sent: drops a connection that the server has closed or on which it sent what
/// no request asked for, and retires one that it leaves unanswered for too long.
void SharedConnection::check_connection(TimePoint now, Multiplexer::Probe probe) {
  read_overdue(now);
  if (!multiplexer_.connected()) return;
  const bool probes = multiplexer_.should_probe(now, probe);
  if (!multiplexer_.all_answered()) {
    if (multiplexer_.is_stale(now)) return multiplexer_.retire_if_stale(now);
    if (!multiplexer_.should_read(now)) return;
    receive_now();
    if (!multiplexer_.all_answered()) return;
  }
  // A closed connection is found by the retries on it.
  if (!multiplexer_.connected() || multiplexer_.has_retrying()) return;
  if (!multiplexer_.in_sync() || !doubted_.empty()) {
    multiplexer_.drop(make_error_code(Errc::protocol_error));
  } else if (probes && !transport_->is_idle()) {
    multiplexer_.drop({});
  }
}

/// Reads what has come if a reply is overdue, and drops a connection to a server that is not a
/// primary any more, whether the server or the topology says so. The background thread may not have
/// heard yet that the server is another one: this process may have been stopped.
void SharedConnection::read_overdue(TimePoint now) {
  if (multiplexer_.should_probe(now, Multiplexer::Probe::seldom)) settings_.topology->attend();
  if (multiplexer_.is_overdue(now)) {
    receive_now();
    if (doubted_.empty()) multiplexer_.begin_grace(BootClock::now());
  }
  multiplexer_.drop_outdated();
  if (settings_.topology->version() != version_) multiplexer_.leave_former_primary(now);
}

/// The one place where the multiplexer's leftovers go on to the sink.
void SharedConnection::hand_on_leftovers() noexcept {
  if (!multiplexer_.has_leftovers()) return;
  Leftovers leftovers = multiplexer_.take_leftovers();
  for (const std::string& one : leftovers.redirects) settings_.topology->redirected(one);
  if (leftovers.disconnection) part(leftovers);
  for (const PendingRequest& one : leftovers.requests) {
    switch (one.ending) {
      case PendingRequest::Ending::released:
        sink_.ended(one.release, one.outcome);
        break;
      case PendingRequest::Ending::answered:
        sink_.renewed(one.renewal, one.replies.front(), one.sent_at);
        break;
      case PendingRequest::Ending::failed:
        sink_.renewal_failed(one.renewal, one.sent_at, leftovers.failure(one.why));
        break;
      case PendingRequest::Ending::superseded:
        sink_.superseded(one.renewal);
        break;
    }
  }
  if (!leftovers.to_repeat.empty()) sink_.repeat_later(std::move(leftovers.to_repeat));
  multiplexer_.recycle(std::move(leftovers.requests));
}

/// The multiplexer has given up the connection.
void SharedConnection::part(Leftovers& leftovers) noexcept {
  Leftovers::Disconnection& disconnection = *leftovers.disconnection;
  const Failure why = leftovers.failure(disconnection.why);
  // After a failover, a break or a silence has the failover for its cause.
  const bool is_broken = !why.code || is_outage(static_cast<Errc>(why.code.value()));
  const bool is_former = is_broken && settings_.topology->version() != version_;
  sink_.record_event(
      {.kind = EventKind::disconnected,
       .elapsed = BootClock::now() - disconnection.since,
       .why = is_former ? Failure{make_error_code(Errc::not_writable), another_is_primary} : why});
  std::unique_ptr<Transport> transport = std::move(transport_);
  // Without a part of the replies, those behind it are of no use, and what is in doubt and not sent
  // yet must never arrive.
  if (!std::exchange(doubted_, {}).empty()) transport->discard();
  switch (disconnection.parting) {
    case Leftovers::Parting::close:
      break;
    case Leftovers::Parting::discard:
      transport->discard();
      break;
    case Leftovers::Parting::retire:
      // The renewals' leases cannot wait for the replies: they are in doubt, and renewed on another
      // connection.
      for (PendingRequest& one : disconnection.retired.in_flight) {
        if (!std::exchange(one.is_renewal, false)) continue;
        sink_.renewal_failed(one.renewal, one.sent_at, why);
      }
      sink_.adopt(std::move(disconnection.retired), std::move(transport));
      break;
  }
  if (disconnection.outdated) {
    if (why.code == Errc::not_writable) note_refusal(why.text);
    settings_.topology->avoid(address_);
  }
  if (disconnection.outdated || disconnection.moved) sink_.server_changed();
}

/// Keeps what the server has said that is no primary: if no connection can be opened from then on,
/// it is a part of why no primary was found.
void SharedConnection::note_refusal(std::string_view explanation) noexcept {
  try {
    refusal_ = "; before that";
    if (!leads_to_.empty()) refusal_.append(", from ").append(leads_to_);
    refusal_.append(": ").append(explanation);
  } catch (const std::bad_alloc&) {
    refusal_.clear();
  }
}

/// Without memory, the failure alone has to do.
void SharedConnection::add_refusal(IoError& failure) const noexcept {
  if (refusal_.empty()) return;
  try {
    failure = IoError(failure.code(), failure.what() + refusal_);
  } catch (const std::bad_alloc&) {
    return;
  }
}

/// Adds the names of the unanswered commands to the error of a closed connection.
template <class Transfer>
auto SharedConnection::naming_owed(Transfer transfer) {
  try {
    return transfer();
  } catch (const IoError& error) {
    if (error.code() != Errc::unreachable) throw;
    throw multiplexer_.naming_owed(error);
  }
}

/// Sends what the transport takes at once, and does `then` when nothing is left, both with the
/// mutex released. True when nothing is left.
template <class Then>
bool SharedConnection::send_now(Then then) {
  const std::string_view output = multiplexer_.output();
  Transport& transport = *transport_;
  std::size_t sent = 0;
  naming_owed([&]() REDLATCH_REQUIRES(mutex_) {
    try {
      const Pause pause(*this);
      transport.send_now(output, sent);
      if (sent == output.size()) then(transport);
    } catch (const std::exception&) {
      multiplexer_.sent(sent);  // which decides what is in doubt
      throw;
    }
  });
  multiplexer_.sent(sent);
  return sent == output.size();
}

bool SharedConnection::send_now() {
  return multiplexer_.output().empty() || send_now([](Transport&) {});
}

/// Waits, with the mutex released, until the transport takes more. True when replies came first,
/// which are taken in: the peer may not read before they are read.
bool SharedConnection::wait_for_room(TimePoint end) {
  Transport& transport = *transport_;
  bool is_readable = false;
  {
    const Pause pause(*this);
    is_readable = transport.wait_for_room(end);
  }
  if (is_readable) receive_now();
  return is_readable;
}

/// Sends the output, until replies come if the transport does not take all of it at once.
void SharedConnection::flush(TimePoint end) {
  while (!send_now()) {
    if (wait_for_room(end)) return;
  }
}

/// Sends what is left to send, and waits for bytes. The mutex is released once for both.
/// `doubt_end`: as of `settle_doubt`.
void SharedConnection::read(TimePoint end, TimePoint doubt_end) {
  if (!doubted_.empty()) {
    if (settle_doubt(doubt_end)) return receive_now();
    throw IoError(Errc::timed_out, "it is not known in time whether the node was replaced");
  }
  std::array<char, 4096> room;
  std::size_t count = 0;
  while (!send_now([&](Transport& transport) { count = transport.receive(room, end); })) {
    if (wait_for_room(end)) return;
  }
  process({room.data(), count}, doubt_end);
  // With TLS, the rest may stand in the transport, where no poll of the descriptor shows it.
  if (count == room.size()) receive_now();
}

/// Sends and receives what the transport takes and has, without waiting.
void SharedConnection::receive_now() {
  send_now();
  std::array<char, 4096> room;
  std::size_t count = room.size();
  while (count == room.size() && settle_doubt({})) {
    count = naming_owed([&]() REDLATCH_REQUIRES(mutex_) { return transport_->receive_now(room); });
    if (count > 0) process({room.data(), count}, {});
  }
}

/// What comes from a former primary is not believed: it may have been stopped while another server
/// was promoted, and grant now what was asked before, or what is asked as it wakes up. `until`: as
/// of `settle_doubt`.
void SharedConnection::process(std::string_view bytes, TimePoint until) {
  const TimePoint now = BootClock::now();
  if (multiplexer_.should_probe(now, Multiplexer::Probe::seldom)) settings_.topology->attend();
  if (settings_.topology->is_trusted(now)) return accept(bytes, now);
  doubted_ = bytes;
  doubted_since_ = now;
  multiplexer_.note_sign_of_life(now);
  settle_doubt(until);
}

/// Finds out, until then, whether what has come may be believed, and accepts it if so. Over
/// already: does not wait. False when it is not known yet.
bool SharedConnection::settle_doubt(TimePoint until) {
  if (doubted_.empty()) return true;
  Topology& topology = *settings_.topology;
  const TimePoint since = doubted_since_;
  try {
    const Pause pause(*this);
    if (BootClock::now() < until) {
      topology.confirm(since, until, never_cancelled);
    } else if (!topology.is_confirmed(since)) {
      return false;
    }
  } catch (const IoError& error) {
    // Only for this call the time is over.
    if (until == TimePoint{} || BootClock::now() < until) throw;
    throw IoError(Errc::timed_out, error.what());
  }
  accept(std::exchange(doubted_, {}), BootClock::now());
  return true;
}

void SharedConnection::accept(std::string_view bytes, TimePoint now) {
  Topology& topology = *settings_.topology;
  if (topology.version() != version_) {
    throw IoError(Errc::not_writable, "another server is the primary since the command was sent");
  }
  const std::optional<TimePoint> sent = multiplexer_.awaited_since();
  if (sent) topology.note_answer(*sent, version_);
  multiplexer_.received(bytes, now);
}

void SharedConnection::after_fork_in_child() noexcept {
  if (transport_ != nullptr) transport_->close();
  // A leader of the parent was using it with the mutex released, so it may not be whole: it is
  // leaked and not destroyed.
  if (has_leader_) static_cast<void>(transport_.release());
  transport_.reset();
  doubted_.clear();
  attempt_ = {};
  multiplexer_.abandon(static_cast<std::uint32_t>(::getpid()));
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
/// Throws `Cancelled` when the call is stopped.
void SharedConnection::await_attempt(const Call* call, TimePoint next) {
  constexpr std::chrono::milliseconds check_period{10};
  while (BootClock::now() < next && !may_connect()) {
    if (call != nullptr && call->request.is_stopped()) throw Cancelled();
    const Pause pause(*this);
    poll_until({}, std::min(next, BootClock::now() + check_period));
  }
}

/// Connects until `end`, until `cancel` becomes readable, or until a stop of the call is requested.
Connection SharedConnection::connect_for(const Call* call, Connecting& attempt, TimePoint end,
                                         int cancel) const {
  const std::stop_token* const stop = call == nullptr ? nullptr : call->request.stop;
  if (stop == nullptr || !stop->stop_possible()) return attempt.connect(settings_, end, cancel);
  EventFd stopped;
  try {
    stopped.open();
  } catch (const std::system_error& error) {
    throw IoError(Errc::unreachable, error.what());
  }
  const std::stop_callback stopping(*stop, [&] { stopped.signal(); });
  Connection connection = attempt.connect(settings_, end, stopped.fd());
  connection.transport->settle_down();  // so that it waits for `stopped` no longer
  return connection;
}

/// Opens the connection with the mutex released. A leader with a call, which is in the queue, waits
/// until `ConnectSchedule` allows the attempt; the background thread comes when it is allowed. All
/// queued calls share the outcome.
void SharedConnection::open(Call* call, const Deadline& deadline, int cancel) {
  assert(has_leader_ && !connecting_ && !multiplexer_.connected());
  if (deadline.policy == ConnectPolicy::never) {
    return multiplexer_.give_up(*call, Errc::unreachable, "there is no connection",
                                BootClock::now());
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
  TimePoint begun = start;
  Connecting attempt = std::move(attempt_);
  Connection connection{};
  std::string address;
  std::shared_ptr<const void> alive;
  std::optional<IoError> failure;
  bool is_attempt = true;
  bool stopped = false;
  try {
    await_attempt(call, next);
    begun = attempt.begun(BootClock::now());
    multiplexer_.schedule().attempted(begun);
    const Pause pause(*this);
    connection = connect_for(call, attempt, end, cancel);
    address = connection.address.with_port();
    alive = std::make_shared<char>();
  } catch (const Cancelled&) {
    // Of the background thread or by a stop of the call: the server is not to blame.
    stopped = call != nullptr;
    attempt_ = std::move(attempt);
  } catch (const NodesLearned& error) {
    is_attempt = false;
    failure = error;
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // Neither a connection nor an error: callers get std::bad_alloc.
    connection = {};
  }
  const TimePoint done = BootClock::now();
  connected_for_ += done - start;
  connecting_ = false;
  if (connection.stream != nullptr) {
    multiplexer_.schedule().succeeded(done);
    failure_.reset();
    refusal_.clear();
    leads_to_ = std::move(address);
    sink_.record_event(
        {.kind = EventKind::connected, .elapsed = done - begun, .detail = leads_to_});
    connection.transport->settle_down();
    transport_ = std::move(connection.transport);
    address_ = connection.address;
    version_ = connection.version;
    multiplexer_.connected_by(std::move(connection.stream), connection.abilities, std::move(alive),
                              done);
  } else if (failure && is_attempt) {
    multiplexer_.schedule().failed(done);
    add_refusal(*failure);
    failure_.emplace(failure->code(), failure->what());
    sink_.record_event(
        {.kind = EventKind::connect_failed, .elapsed = done - begun, .why = failure->failure()});
  }
  {
    // The deadlines of the followers have changed. They are woken at once, as a call must not be
    // among those to wake twice.
    multiplexer_.wake_queued();
    const Pause pause(*this);
  }
  if (multiplexer_.connected()) return;
  // If only this call's time was too short, calls with more time left try for themselves.
  if (failure && (full || done < end)) {
    multiplexer_.fail_queued(*failure, done);
  } else if (stopped) {
    multiplexer_.give_up(*call, Errc::unreachable, is_stopped_text, done);
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
