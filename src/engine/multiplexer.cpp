#include "engine/multiplexer.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <new>
#include <optional>
#include <span>
#include <utility>

#include "engine/combined_wait.hpp"

namespace redlatch::detail {

namespace {

// How long ago a connection must have been used before it is looked at again, which costs a system
// call: with replies to come, idle, and idle while other servers of a quorum can answer instead.
constexpr std::chrono::microseconds read_interval{100};
constexpr std::chrono::microseconds idle_check_interval{10};
constexpr std::chrono::milliseconds rare_check_interval{5};

// The least time that a renewal has for its reply, however short its lease is.
constexpr std::chrono::milliseconds min_answer_timeout{50};

/// How long the server may take for a reply before its connection is retired. A renewal must be
/// sent again before its lease is over. For the others, a little less than `command_timeout`: when
/// one call has given up, the next must not try the same connection.
std::chrono::nanoseconds answer_timeout_for(const PendingRequest& pending,
                                            std::chrono::milliseconds usual) {
  const std::chrono::nanoseconds all = usual * 7 / 8 + pending.blocks;
  if (!pending.is_renewal) return all;
  return std::min<std::chrono::nanoseconds>(all,
                                            std::max(min_answer_timeout, pending.renewal.ttl / 3));
}

/// How long a server counts as one that lacks a command that releases need, and how often, and for
/// how long each time, a release that changes nothing is tried meanwhile.
constexpr std::chrono::minutes no_releases_for{1};
constexpr std::chrono::seconds release_probe_period{1};

std::atomic<std::uint64_t> last_connection = 0;

/// How much longer than its own time a request may wait for a WAIT that others share.
constexpr std::chrono::milliseconds share_slack{100};

}  // namespace

void Multiplexer::connected_by(std::unique_ptr<Connection> connection,
                               std::shared_ptr<const void> alive) noexcept {
  pipeline_.connection = std::move(connection);
  pipeline_.alive = std::move(alive);
  outdated_.reset();
  no_releases_.reset();
  missing_from_ = TimePoint::max();
  retry_took_ = {};
  known_count_ = 0;
  number_ = ++last_connection;
  if (pipeline_.connection) pipeline_.connection->settle_down();
  used_ = connected_at_ = BootClock::now();
}

void Multiplexer::record_disconnected(std::error_code why) const noexcept {
  sink_.record_event(EventKind::disconnected, {}, connected_at_, why);
}

void Multiplexer::check_connection(TimePoint now, Probe probe) {
  read_if_overdue();
  drop_outdated();
  if (!connected()) return;
  const auto idle = now - used_;
  if (!all_answered()) {
    if (is_stale()) return retire_if_stale();
    if (idle < read_interval) return;
    used_ = now;
    receive_available();
    if (!all_answered()) return;
  }
  const Connection& connection = *pipeline_.connection;
  const auto unseen =
      probe == Probe::seldom ? TimePoint::duration(rare_check_interval) : idle_check_interval;
  if (!connection.in_sync() || (idle >= unseen && !connection.is_idle())) {
    record_disconnected(connection.in_sync() ? std::error_code()
                                             : make_error_code(Errc::protocol_error));
    pipeline_ = {};
  }
}

void Multiplexer::read_if_overdue() {
  if (!is_overdue()) return;
  receive_available();
  if (!is_overdue() || missing_from_ != TimePoint::max()) return;
  // Lateness counts from `command_timeout`, of which the time for the reply is seven eighths.
  missing_from_ = BootClock::now() + grace_for(age() - answer_timeout() * 8 / 7);
}

bool Multiplexer::is_stale() const noexcept {
  return missing_from_ != TimePoint::max() && is_overdue() && BootClock::now() >= missing_from_;
}

bool Multiplexer::is_overdue() const noexcept {
  return !all_answered() && age() >= answer_timeout();
}

/// For how long the first request in flight has been, which must exist.
TimePoint::duration Multiplexer::age() const noexcept {
  return BootClock::now() - pipeline_.in_flight.front().sent_at;
}

TimePoint::duration Multiplexer::answer_timeout() const noexcept {
  return answer_timeout_for(pipeline_.in_flight.front(), settings_.options.command_timeout);
}

void Multiplexer::drop_outdated() noexcept {
  if (!outdated_ || !connected() || !all_answered() || has_retrying()) return;
  record_disconnected(make_error_code(*outdated_));
  pipeline_.connection->avoid_address();
  sink_.server_changed();
  mark_queued_overtakable();
  pipeline_ = {};
  outdated_.reset();
}

void Multiplexer::note_connection_state(const PendingRequest& pending) noexcept {
  for (std::size_t i = 0; i < pending.replies.size(); ++i) {
    const protocol::Reply& reply = pending.replies[i];
    if (!reply.is_error() || !protocol::concerns_connection(reply.text)) continue;
    if (schedule_.is_trusted(BootClock::now())) return;
    outdated_ = protocol::classify(reply.text);
    if (pending.call != nullptr) pending.call->outdated = true;
  }
}

void Multiplexer::note_release(const PendingRequest& pending) noexcept {
  const protocol::Reply& reply = pending.replies.front();
  if (!reply.is_error() && !no_releases_) return;  // nearly always
  const protocol::Script* const script = pending.command(0).script();
  if (script == nullptr || script->effect != protocol::Script::Effect::remove) return;
  no_releases_.reset();
  if (!reply.is_error() || protocol::classify(reply.text) != Errc::unsupported) return;
  try {
    no_releases_.emplace(Errc::unsupported,
                         "no lock could be given up again: " + protocol::explain(reply.text));
    no_releases_until_ = BootClock::now() + no_releases_for;
  } catch (const std::bad_alloc&) {
    // The reply to the next release shows it again.
  }
}

/// Whether the call asks for a lock that this server could not release.
bool Multiplexer::cannot_be_released(const Call& call) const noexcept {
  if (!no_releases_ || call.request.cleanup == nullptr || BootClock::now() >= no_releases_until_) {
    return false;
  }
  const protocol::Script* const release = call.request.cleanup->command.script();
  return release != nullptr && release->effect == protocol::Script::Effect::remove;
}

/// The refusal may have been one for the moment. Releasing the lock that the call did not get
/// changes nothing, and shows whether releases work again.
void Multiplexer::probe_releases(const Call& call, TimePoint now) {
  if (now < next_release_probe_) return;
  next_release_probe_ = now + release_probe_period;
  queue(call.request.key, {call.request.cleanup->command, release_probe_period});
}

void Multiplexer::retire_if_stale() noexcept {
  if (awaited() || !is_stale()) return;
  assert(connected());
  leave_retries_to_sink();
  mark_queued_overtakable();
  // The renewals' leases cannot wait for the replies: they are in doubt, and renewed on another
  // connection.
  for (PendingRequest& pending : pipeline_.in_flight) {
    if (!std::exchange(pending.is_renewal, false)) continue;
    sink_.renewal_failed(pending.renewal, pending.sent_at, make_error_code(Errc::timed_out));
  }
  record_disconnected(make_error_code(Errc::timed_out));
  sink_.adopt(std::exchange(pipeline_, {}));
}

void Multiplexer::fail_connection(const IoError* why) noexcept {
  const auto sent = connected() ? pipeline_.connection->sent() : 0;
  const std::error_code code =
      why != nullptr ? make_error_code(why->code()) : make_error_code(std::errc::not_enough_memory);
  if (connected()) record_disconnected(code);
  for (PendingRequests* list : {&retrying_, &pipeline_.in_flight}) {
    fail_renewals(*list, code);
    while (!list->empty()) {
      const auto pending = list->begin();
      if (pending->is_release) {
        pending->release.broke(why == nullptr ? Errc::unreachable : why->code(), BootClock::now());
        sink_.repeat_later(*list, pending);
      } else if (pending->call != nullptr) {
        // Sent completely: the server may read it although the connection is gone.
        pending->call->in_doubt = sent >= pending->change_ends;
        pending->call->broken = true;
        if (pending->call->in_doubt) note_sent(*pending);
        --waiting_;
        fail(*list, pending, why);
      } else {
        pool_.put_away(*list, pending);
      }
    }
  }
  // Commands in doubt that the system has not sent yet must never arrive: no cleanup follows them
  // on this connection.
  if (connected()) pipeline_.connection->discard();
  pipeline_ = {};
  mark_queued_overtakable();
}

/// What a leader of the parent was changing may not be whole, so it is leaked and not destroyed.
void Multiplexer::abandon(bool in_use) noexcept {
  if (connected()) pipeline_.connection->abandon();
  if (in_use) {
    static_cast<void>(pipeline_.connection.release());
    std::construct_at(&pipeline_);
    std::construct_at(&retrying_);
  }
  pipeline_ = {};
  retrying_.clear();
  queue_.clear();
  waiting_ = 0;
  to_wake_.clear();
  outdated_.reset();
  schedule_.after_fork_in_child(static_cast<std::uint32_t>(::getpid()));
}

void Multiplexer::queue(PendingRequests releases) noexcept {
  for (PendingRequest& pending : releases) pending.status = PendingRequest::Status::queued;
  queue_.splice(queue_.end(), releases);
}

void Multiplexer::queue(Call& call) {
  assert(call.state == Call::State::following);
  call.pending = pool_.take(queue_);
  call.pending->call = &call;
  call.pending->route = settings_.routes->pin(call.request.key);
  if (call.pending->may_block()) call.pending->queued_at = BootClock::now();
}

void Multiplexer::queue(std::string_view key, const CleanupRelease& cleanup) {
  PendingRequests pending;  // not in the queue yet, so that an exception leaves that as it was
  pool_.take(pending)->is_release = true;
  pending.front().release.begin(key, cleanup, BootClock::now());
  pending.front().route = settings_.routes->pin(key);
  queue_.splice(queue_.end(), pending);
}

void Multiplexer::queue(Lease& renewed) {
  PendingRequests pending;
  pool_.take(pending)->renewal.begin(renewed);
  pending.front().is_renewal = true;
  pending.front().route = settings_.routes->pin(renewed.key());
  pending.front().sent_at = TimePoint{};  // nothing is in doubt before it is sent
  queue_.splice(queue_.end(), pending);
}

CombinedWait Multiplexer::combined_wait() noexcept {
  return CombinedWait(pipeline_, std::min(settings_.options.command_timeout / 2, share_slack));
}

bool Multiplexer::send_queued(Send which, TimePoint now) {
  assert(connected());
  bool sent = false;
  CombinedWait wait = combined_wait();
  for (auto next = queue_.begin(); next != queue_.end();) {
    const auto pending = next++;
    pending->renewal.connection = number_;
    if (pending->call != nullptr) {
      if (which != Send::all) continue;
      if (cannot_be_released(*pending->call)) {
        probe_releases(*pending->call, now);
        fail(queue_, pending, &*no_releases_);
        continue;
      }
      if (pipeline_.connection->needs_exclusive_use(pending->call->request.commands)) break;
      if (pending->may_block() && !wait.can_add(*pending)) continue;  // in the next batch
    } else if (pending->is_renewal && which == Send::releases) {
      continue;
    } else if (pending->is_renewal && !sink_.wants(pending->renewal)) {
      pool_.put_away(queue_, pending);
      continue;
    } else if (needs_exclusive_use(pending->command(0))) {
      pending->begin(now);
      pending->repeat = true;
      pending->status = PendingRequest::Status::retrying;
      retrying_.splice(retrying_.end(), queue_, pending);
      continue;
    }
    sent = true;
    append_queued(pending, wait, now);
  }
  wait.append();
  if (sent) used_ = now;
  return sent;
}

void Multiplexer::append_queued(PendingRequests::iterator pending, CombinedWait& wait,
                                TimePoint now) {
  pending->retried = false;
  if (!pending->may_block()) wait.append();
  // Counted in the same step as the request leaves the queue: nothing can throw in between.
  if (pending->call != nullptr) ++waiting_;
  if (pending->may_block()) {
    wait.add(queue_, pending, now);
  } else {
    pipeline_.append(queue_, pending, now);
  }
}

void Multiplexer::read(TimePoint end, Guard& guard) {
  {
    const Unlocked unlocked(guard);
    pipeline_.connection->flush(end);
    pipeline_.connection->wait(end);
    pipeline_.collect();
  }
  used_ = BootClock::now();
  deliver();
}

void Multiplexer::receive_available() {
  pipeline_.receive_available();
  deliver();
}

void Multiplexer::deliver() noexcept {
  PendingRequests& in_flight = pipeline_.in_flight;
  while (!in_flight.empty() && in_flight.front().complete()) {
    PendingRequest& pending = in_flight.front();
    missing_from_ = TimePoint::max();  // the server answers
    pending.repeat = !pending.is_abandoned() && pending.depends_on(retrying_);
    if (pending.is_abandoned() || (!pending.repeat && !pending.was_refused())) {
      for (PendingRequest& refused : retrying_) refused.superseded |= pending.supersedes(refused);
      answer(in_flight);
      continue;
    }
    pending.status = PendingRequest::Status::retrying;
    if (!pending.is_in_doubt()) pending.change_ends = RespStream::nowhere;
    // A request that is refused for the second time was first sent before all that were refused
    // once.
    const auto position =
        pending.retried ? std::find_if(retrying_.begin(), retrying_.end(),
                                       [](const PendingRequest& other) { return !other.retried; })
                        : retrying_.end();
    retrying_.splice(position, in_flight, in_flight.begin());
    known_count_ = 0;  // the server may have forgotten more than this script
  }
}

Call* Multiplexer::next_leader() const noexcept {
  for (const PendingRequests* list : {&retrying_, &pipeline_.in_flight, &queue_}) {
    if (list == &pipeline_.in_flight && !awaited()) continue;
    for (const PendingRequest& pending : *list) {
      if (pending.call != nullptr && pending.call->poll_notifier == nullptr) return pending.call;
    }
  }
  return nullptr;
}

Multiplexer::Owed Multiplexer::owed(const Keys& keys) const noexcept {
  Owed owed;
  for (const PendingRequests* list : {&retrying_, &pipeline_.in_flight, &queue_}) {
    for (const PendingRequest& pending : *list) {
      owed.release |= pending.gives_up(keys);
      owed.several |= pending.is_release && Keys::are_several(pending.release.command());
    }
  }
  return owed;
}

/// Completes the first request of the list with its replies.
void Multiplexer::answer(PendingRequests& from) noexcept {
  const auto pending = from.begin();
  note_connection_state(*pending);
  if (!pending->is_abandoned()) note_release(*pending);
  if (pending->is_background()) {
    if (!sink_.answered(from, pending, settings_.options.command_timeout)) return;
  } else if (pending->call != nullptr) {
    pending->call->response.replies = std::move(pending->replies);
    note_sent(*pending);
    pending->call->response.cut_short = pending->cut_short;
    --waiting_;
    to_wake_.finish(*pending->call);
  }
  pool_.put_away(from, pending);
}

void Multiplexer::note_sent(const PendingRequest& pending) const noexcept {
  pending.call->response.sent = pending.sent_at;
  pending.call->response.connection = number_;
}

void Multiplexer::give_up(Call& call, Errc code, const char* why) noexcept {
  assert(!call.done() && call.pending->call == &call);
  const auto pending = call.pending;
  const bool sent = pending->status != PendingRequest::Status::queued;
  call.in_doubt = sent && pending->change_ends != RespStream::nowhere;
  if (call.in_doubt) note_sent(*pending);
  try {
    if (call.in_doubt && call.request.cleanup != nullptr && call.poll_notifier == nullptr) {
      queue(call.request.key, *call.request.cleanup);
    }
    call.failure.emplace(code, why);
  } catch (const std::bad_alloc&) {
    call.out_of_memory = true;
  }
  if (sent) --waiting_;
  if (pending->status == PendingRequest::Status::in_flight) {
    pending->call = nullptr;  // abandoned: its replies are still to come
  } else {
    pool_.put_away(sent ? retrying_ : queue_, pending);
  }
  call.state = Call::State::done;  // by the call's own thread, so there is nothing to wake
}

/// Queued releases will be sent on another connection than the acquisitions that they undo.
void Multiplexer::mark_queued_overtakable() noexcept {
  for (PendingRequest& pending : queue_) {
    if (pending.is_release) pending.release.may_be_overtaken(pipeline_.alive);
  }
}

bool Multiplexer::has_renewals() const noexcept {
  return std::any_of(queue_.begin(), queue_.end(),
                     [](const PendingRequest& pending) { return pending.is_renewal; });
}

/// Failed renewals are not queued again: the renewer makes them anew when they are due.
void Multiplexer::fail_renewals(PendingRequests& from, std::error_code why) noexcept {
  for (auto next = from.begin(); next != from.end();) {
    const auto pending = next++;
    if (!pending->is_renewal) continue;
    sink_.renewal_failed(pending->renewal, pending->sent_at, why);
    pool_.put_away(from, pending);
  }
}

void Multiplexer::fail_queued(Call& call, const IoError* why) noexcept {
  fail(queue_, call.pending, why);
}

void Multiplexer::fail_queued(const IoError& why) noexcept {
  repeat_releases_later(why.code());
  while (!queue_.empty()) fail(queue_, queue_.begin(), &why);
}

void Multiplexer::fail(PendingRequests& from, PendingRequests::iterator pending,
                       const IoError* why) noexcept {
  to_wake_.fail(*pending->call, why);
  pool_.put_away(from, pending);
}

void Multiplexer::wake_queued() noexcept {
  for (const PendingRequest& pending : queue_) {
    if (pending.call == nullptr || pending.call->is_leading()) continue;
    ++pending.call->posts;
    if (pending.call->poll_notifier != nullptr) pending.call->poll_notifier->notify();
    pending.call->baton.post();
  }
}

void Multiplexer::repeat_releases_later(Errc why) noexcept {
  if (connected()) return;  // queued releases stay behind the refused ones
  leave_retries_to_sink();
  fail_renewals(queue_, make_error_code(why));
  for (PendingRequest& pending : queue_) {
    if (!pending.is_release) continue;
    pending.release.failed(why, BootClock::now());
    pending.release.wait_until(schedule_.next());
  }
  sink_.repeat_releases_later(queue_);
}

void Multiplexer::leave_retries_to_sink() noexcept {
  fail_renewals(retrying_, make_error_code(Errc::timed_out));
  for (PendingRequest& pending : retrying_) {
    if (!pending.is_release) continue;
    pending.release.require_exclusive_use(BootClock::now());
    if (!all_answered()) pending.release.may_be_overtaken();
  }
  sink_.repeat_releases_later(retrying_);
}

void Multiplexer::retry_refused(TimePoint end, const Call* leader, Guard& guard) {
  assert(all_answered());
  bool is_first = true;
  for (drop_unwanted(); !retrying_.empty(); drop_unwanted()) {
    PendingRequest& pending = retrying_.front();
    if (pending.can_be_resent(known_scripts())) return resend_refused(guard);
    if (const Call* const own = first_refused(); own != nullptr && own != leader) return;
    const TimePoint begun = BootClock::now();
    // Exclusive use that runs out of time breaks a connection that is healthy.
    const auto least =
        is_first && leader == nullptr ? TimePoint::duration::zero() : 2 * retry_took_;
    if ((leader == nullptr || pending.call != leader) && begun + least >= end) {
      if (leader == nullptr) return;
      throw IoError(Errc::timed_out, "others kept the connection for all of command_timeout");
    }
    is_first = false;
    const protocol::Script* const script = pending.command(0).script();
    if (pending.call != nullptr) pending.call->retrying = true;
    const TimePoint latest = pending.call == nullptr ? end : std::min(end, pending.call->end);
    use_exclusively(pending, guard, [&] { pending.retry_refused(*pipeline_.connection, latest); });
    if (!connected()) return;
    retry_took_ = BootClock::now() - begun;
    note_script_known(script);
    answer(retrying_);
  }
}

void Multiplexer::note_script_known(const protocol::Script* script) noexcept {
  if (script == nullptr || known_count_ == known_scripts_.size()) return;
  if (std::find(known_scripts().begin(), known_scripts().end(), script) == known_scripts().end()) {
    known_scripts_[known_count_++] = script;
  }
}

Call* Multiplexer::first_refused() const noexcept {
  if (retrying_.empty()) return nullptr;
  Call* const first = retrying_.front().call;
  return first != nullptr && first->poll_notifier == nullptr ? first : nullptr;
}

/// Takes out the first refused requests up to one that is to be retried: the others are superseded,
/// not wanted any more, or out of time.
void Multiplexer::drop_unwanted() noexcept {
  while (!retrying_.empty() && is_unwanted(retrying_.front())) {
    const auto pending = retrying_.begin();
    if (pending->is_renewal) {
      if (pending->superseded) sink_.superseded(pending->renewal);
      pool_.put_away(retrying_, pending);
    } else if (pending->superseded) {
      answer(retrying_);  // the call gets the refusal
    } else {
      fail_refused(pending);
    }
  }
}

bool Multiplexer::is_unwanted(const PendingRequest& refused) const noexcept {
  if (refused.superseded) return true;
  if (refused.is_renewal) return !sink_.wants(refused.renewal);
  return refused.call != nullptr && BootClock::now() >= refused.call->end;
}

void Multiplexer::fail_refused(PendingRequests::iterator pending) noexcept {
  try {
    const IoError late(Errc::timed_out, "no answer within command_timeout");
    pending->call->in_doubt = pending->change_ends != RespStream::nowhere;
    // As after a break of the connection, the background sends the cleanup release.
    pending->call->broken = pending->call->in_doubt;
    if (pending->call->in_doubt) note_sent(*pending);
    --waiting_;
    fail(retrying_, pending, &late);
  } catch (const std::bad_alloc&) {
    --waiting_;
    fail(retrying_, pending, nullptr);
  }
}

/// Sends refused requests again in one batch, in their order, up to the first that needs more.
void Multiplexer::resend_refused(Guard& guard) {
  const TimePoint now = BootClock::now();
  CombinedWait wait = combined_wait();
  for (drop_unwanted(); !retrying_.empty(); drop_unwanted()) {
    const auto pending = retrying_.begin();
    if (!pending->can_be_resent(known_scripts())) break;
    if (pending->may_block()) {
      if (!wait.can_add(*pending)) break;
      wait.add(retrying_, pending, now);
    } else {
      wait.append();
      pipeline_.append(retrying_, pending, now);
    }
    pending->renewal.connection = number_;
    pending->retried = true;
  }
  wait.append();
  used_ = now;
  try_flush(guard);
}

void Multiplexer::run_exclusively(Call& call, TimePoint end, Guard& guard) {
  assert(call.is_leading() && all_answered());
  const auto pending = call.pending;
  pending->begin(BootClock::now());
  pending->status = PendingRequest::Status::in_flight;
  pipeline_.in_flight.splice(pipeline_.in_flight.end(), queue_, pending);
  ++waiting_;
  use_exclusively(*pending, guard,
                  [&] { pipeline_.connection->run(call.request.commands, pending->replies, end); });
  if (!call.done()) answer(pipeline_.in_flight);
}

/// Runs `operation` with the mutex released. Any failure of it is one of the connection.
template <class Operation>
void Multiplexer::use_exclusively(PendingRequest& about, Guard& guard, Operation operation) {
  assert(connected());
  std::optional<IoError> failure;
  try {
    const Unlocked unlocked(guard);
    operation();
    used_ = BootClock::now();
    return;
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // Without an error, the calls get std::bad_alloc.
  }
  if (pipeline_.connection->in_doubt()) about.change_ends = 0;
  fail_connection(failure ? &*failure : nullptr);
}

Call* Multiplexer::first_needing_exclusive_use() const noexcept {
  Call* const first = queue_.front().call;
  if (first == nullptr || !pipeline_.connection->needs_exclusive_use(first->request.commands))
    return nullptr;
  assert(first->poll_notifier == nullptr);
  return first;
}

bool Multiplexer::needs_exclusive_use(const protocol::Command& command) const noexcept {
  return pipeline_.connection->form_of(command) == protocol::Form::watch;
}

bool Multiplexer::is_consistent() const noexcept {
  const auto status_of = [](const PendingRequest& pending) { return pending.status; };
  const auto has_call = [](const PendingRequest& pending) { return pending.call != nullptr; };
  const auto leads = [](const PendingRequest& pending) {
    return pending.call != nullptr && pending.call->is_leading();
  };
  using Status = PendingRequest::Status;
  std::ptrdiff_t waiting = 0;
  std::ptrdiff_t leaders = 0;
  for (const auto& [list, status] :
       {std::pair(&queue_, Status::queued), std::pair(&pipeline_.in_flight, Status::in_flight),
        std::pair(&retrying_, Status::retrying)}) {
    if (std::ranges::count(*list, status, status_of) != std::ssize(*list)) return false;
    leaders += std::ranges::count_if(*list, leads);
    if (list != &queue_) waiting += std::ranges::count_if(*list, has_call);
  }
  return leaders <= 1 && waiting == static_cast<std::ptrdiff_t>(waiting_);
}

}  // namespace redlatch::detail
