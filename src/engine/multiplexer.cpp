#include "engine/multiplexer.hpp"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <new>
#include <optional>
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

/// The value that a release by token names.
std::string_view value_in(const protocol::Command& release) noexcept { return release.argument(1); }

std::atomic<std::uint64_t> last_connection = 0;

/// How much longer than its own time a request may wait for a WAIT that others share.
constexpr std::chrono::milliseconds share_slack{100};

}  // namespace

void Multiplexer::connected_by(std::unique_ptr<RespStream> stream,
                               const std::optional<protocol::Abilities>& abilities,
                               std::shared_ptr<const void> alive, TimePoint now) noexcept {
  assert(!connected() && all_answered());
  pipeline_.stream = std::move(stream);
  pipeline_.forms = ScriptForms(abilities, settings_.role.only_scripts);
  pipeline_.alive = std::move(alive);
  outdated_.reset();
  release_check_.reset();
  missing_from_ = TimePoint::max();
  known_scripts_.clear();
  retried_late_ = false;
  number_ = ++last_connection;
  used_ = connected_at_ = now;
}

void Multiplexer::disconnect(Leftovers::Parting parting, std::error_code why) noexcept {
  assert(connected() && !leftovers_.disconnection);
  Pipeline lost = std::exchange(pipeline_, {});
  leftovers_.disconnection.emplace(
      Leftovers::Disconnection{.parting = parting, .since = connected_at_, .why = why});
  if (parting == Leftovers::Parting::retire) leftovers_.disconnection->retired = std::move(lost);
}

void Multiplexer::drop(std::error_code why) noexcept {
  assert(all_answered());
  disconnect(Leftovers::Parting::close, why);
}

void Multiplexer::drop_outdated() noexcept {
  if (!outdated_ || !connected() || !all_answered() || has_retrying()) return;
  mark_queued_overtakable();
  const std::error_code why = make_error_code(outdated_->code);
  leftovers_.explain(why, outdated_->explanation);
  disconnect(Leftovers::Parting::close, why);
  leftovers_.disconnection->outdated = true;
  outdated_.reset();
}

bool Multiplexer::should_read(TimePoint now) noexcept {
  if (now - used_ < read_interval) return false;
  used_ = now;
  return true;
}

bool Multiplexer::should_probe(TimePoint now, Probe probe) const noexcept {
  return now - used_ >=
         (probe == Probe::seldom ? TimePoint::duration(rare_check_interval) : idle_check_interval);
}

bool Multiplexer::is_overdue(TimePoint now) const noexcept {
  return !all_answered() && age(now) >= answer_timeout();
}

void Multiplexer::begin_grace(TimePoint now) noexcept {
  if (!is_overdue(now) || missing_from_ != TimePoint::max()) return;
  // Lateness counts from `command_timeout`, of which the time for the reply is seven eighths.
  missing_from_ = now + grace_for(age(now) - answer_timeout() * 8 / 7);
}

bool Multiplexer::is_stale(TimePoint now) const noexcept {
  return missing_from_ != TimePoint::max() && is_overdue(now) && now >= missing_from_;
}

TimePoint Multiplexer::next_verdict(TimePoint now) const noexcept {
  return missing_from_ != TimePoint::max() ? missing_from_ : now - age(now) + answer_timeout();
}

std::optional<TimePoint> Multiplexer::awaited_since() const noexcept {
  if (all_answered()) return std::nullopt;
  return retry_.in_progress() ? retry_.heard_at() : pipeline_.in_flight.front().sent_at;
}

/// For how long the first request in flight has been, which must exist; in a retry, for how long
/// its last commands have been.
TimePoint::duration Multiplexer::age(TimePoint now) const noexcept {
  return now - *awaited_since();
}

TimePoint::duration Multiplexer::answer_timeout() const noexcept {
  return answer_timeout_for(pipeline_.in_flight.front(), settings_.options.command_timeout);
}

void Multiplexer::note_connection_state(const PendingRequest& pending, TimePoint now) noexcept {
  for (std::size_t i = 0; i < pending.replies.size(); ++i) {
    const protocol::Reply& reply = pending.replies[i];
    if (!reply.is_error() || !protocol::concerns_connection(reply.text)) continue;
    if (schedule_.is_trusted(now)) return;
    outdated_ = Outdated{protocol::classify(reply.text), explanation_of(reply)};
    const bool is_done = protocol::vote(pending.replies.front()) == protocol::Vote::yes;
    if (pending.call != nullptr) pending.call->outdated = !is_done;
  }
}

/// Without memory, the next request is redirected, too.
void Multiplexer::note_redirect(const PendingRequest& pending) noexcept {
  if (pending.replies.empty() || !pending.replies.front().is_error()) return;
  const protocol::Redirection how = protocol::redirection(pending.replies.front());
  if (how != protocol::Redirection::moved && how != protocol::Redirection::asks) return;
  try {
    leftovers_.redirects.push_back(pending.replies.front().text);
  } catch (const std::bad_alloc&) {
    return;
  }
}

void Multiplexer::note_release(const PendingRequest& pending, TimePoint now) noexcept {
  const protocol::Reply& reply = pending.replies.front();
  if (!reply.is_error() && !release_check_.has_refusal()) return;  // nearly always
  release_check_.note(pending.command(0), reply, now);
}

void Multiplexer::retire_if_stale(TimePoint now) noexcept {
  if (awaited() || !is_stale(now)) return;
  leave(Errc::timed_out, now);
}

void Multiplexer::leave_former_primary(TimePoint now) noexcept {
  if (!connected() || awaited()) return;
  leftovers_.explain(make_error_code(Errc::not_writable), another_is_primary);
  leave(Errc::not_writable, now);
  leftovers_.disconnection->moved = true;
}

/// Leaves a connection on which no call awaits a reply, and has the replies read that are still to
/// come.
void Multiplexer::leave(Errc why, TimePoint now) noexcept {
  assert(connected() && !awaited());
  leave_retries_over(now);
  // A retry cannot be read to its end without this multiplexer: its release is sent again on
  // another connection, as after a break.
  if (retry_.in_progress()) return lose_connection(nullptr, why, make_error_code(why), now);
  note_doubts(now);
  mark_queued_overtakable();
  disconnect(all_answered() ? Leftovers::Parting::close : Leftovers::Parting::retire,
             make_error_code(why));
}

void Multiplexer::fail_connection(const IoError* why, TimePoint now) noexcept {
  lose_connection(
      why, why == nullptr ? Errc::unreachable : why->code(),
      why == nullptr ? make_error_code(std::errc::not_enough_memory) : make_error_code(why->code()),
      now);
}

void Multiplexer::lose_connection(const IoError* why, Errc code, std::error_code event,
                                  TimePoint now) noexcept {
  const auto sent = connected() ? pipeline_.stream->sent() : 0;
  note_doubts(now);
  retry_.stop(code, now);
  if (why != nullptr) leftovers_.explain(event, why->what());
  for (PendingRequests* list : {&retrying_, &pipeline_.in_flight}) {
    fail_renewals(*list, event);
    while (!list->empty()) {
      const auto pending = list->begin();
      if (pending->is_release) {
        pending->release.broke(code, now, why == nullptr ? "" : why->what());
        leftovers_.to_repeat.splice(leftovers_.to_repeat.end(), *list, pending);
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
  if (connected()) disconnect(Leftovers::Parting::discard, event);
  mark_queued_overtakable();
}

void Multiplexer::abandon(std::uint32_t process) noexcept {
  retry_.stop(Errc::timed_out, {});
  pipeline_ = {};
  retrying_.clear();
  queue_.clear();
  waiting_ = 0;
  to_wake_ = {};
  leftovers_ = {};
  doubts_.clear();
  outdated_.reset();
  schedule_.after_fork_in_child(process);
}

void Multiplexer::queue(PendingRequests releases) noexcept {
  for (PendingRequest& pending : releases) pending.status = PendingRequest::Status::queued;
  queue_.splice(queue_.end(), releases);
}

void Multiplexer::queue(Call& call, TimePoint now) {
  assert(call.state == Call::State::following);
  call.pending = pool_.take(queue_);
  call.pending->call = &call;
  call.pending->route = settings_.routes->pin(call.request.key);
  call.pending->queued_at = now;
}

void Multiplexer::queue(std::string_view key, const CleanupRelease& cleanup, TimePoint now) {
  PendingRequests pending;  // not in the queue yet, so that an exception leaves that as it was
  pool_.take(pending)->is_release = true;
  pending.front().release.begin(key, cleanup, now);
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

bool Multiplexer::fill(Send which, TimePoint now) {
  assert(connected());
  if (retry_.in_progress()) return false;
  for (;;) {
    // Refused requests come first, one batch or one retry at a time.
    if (retrying_.empty() ? awaited() : !all_answered()) return false;
    if (write_retries(now)) return true;
    const bool written = write_queued(which, now);
    if (written || retrying_.empty()) return written;
  }
}

bool Multiplexer::write_queued(Send which, TimePoint now) {
  bool written = false;
  CombinedWait wait = combined_wait();
  for (auto next = queue_.begin(); next != queue_.end();) {
    const auto pending = next++;
    pending->renewal.connection = number_;
    const Turn turn = turn_of(pending, which, now);
    if (turn == Turn::skip || (turn == Turn::write && pending->may_block() &&
                               !wait.can_add(*pending))) {  // in the next batch
      continue;
    }
    if (turn == Turn::write) {
      written = true;
      append_queued(pending, wait, now);
      continue;
    }
    const bool is_call = pending->call != nullptr;
    retry_later(pending, now);
    if (is_call) break;  // what is queued behind a call is sent behind it
  }
  wait.append();
  if (written) used_ = now;
  return written;
}

Multiplexer::Turn Multiplexer::turn_of(PendingRequests::iterator pending, Send which,
                                       TimePoint now) {
  if (pending->call != nullptr) {
    if (which != Send::all) return Turn::skip;
    const Request& request = pending->call->request;
    if (const IoError* const refusal = release_check_.refuses(request, now)) {
      // Releasing the lock that the call did not get changes nothing.
      if (release_check_.is_probe_due(now)) {
        queue(request.key, {request.cleanup->command, ReleaseCheck::probe_period}, now);
      }
      fail(queue_, pending, refusal);
      return Turn::skip;
    }
    return pipeline_.forms.needs_exclusive_use(request.commands) ? Turn::retry : Turn::write;
  }
  if (pending->is_renewal) {
    if (which == Send::releases) return Turn::skip;
    if (!renewals_.wants(pending->renewal)) {
      pool_.put_away(queue_, pending);
      return Turn::skip;
    }
  }
  return needs_exclusive_use(pending->command(0)) ? Turn::retry : Turn::write;
}

/// The server takes the queued request only with exclusive use of the connection.
void Multiplexer::retry_later(PendingRequests::iterator pending, TimePoint now) noexcept {
  pending->begin(now);
  pending->repeat = true;
  pending->retried = false;
  pending->status = PendingRequest::Status::retrying;
  if (pending->call != nullptr) ++waiting_;
  retrying_.splice(retrying_.end(), queue_, pending);
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

/// Writes refused requests, up to the first that needs the connection for itself. Nothing may be in
/// flight.
bool Multiplexer::write_retries(TimePoint now) {
  for (drop_unwanted(now); !retrying_.empty(); drop_unwanted(now)) {
    assert(all_answered() && !retry_.in_progress());
    used_ = now;
    const auto pending = retrying_.begin();
    if (can_be_resent(*pending)) {
      resend_refused(now);
      return true;
    }
    PendingRequests& in_flight = pipeline_.in_flight;
    pending->status = PendingRequest::Status::in_flight;
    in_flight.splice(in_flight.end(), retrying_, pending);
    const TimePoint end =
        pending->call != nullptr ? pending->call->end : now + settings_.options.command_timeout;
    if (!retry_.begin(*pending, now, end, *pipeline_.stream, pipeline_.forms,
                      *settings_.closings)) {
      return true;
    }
    deliver_retry(now);
  }
  return false;
}

/// Whether a batch can simply contain the refused request again. The retry of another one may have
/// found that scripts need the connection for themselves.
bool Multiplexer::can_be_resent(const PendingRequest& refused) const noexcept {
  for (std::size_t i = 0; i < refused.commands; ++i) {
    if (needs_exclusive_use(refused.command(i))) return false;
  }
  return refused.can_be_resent(known_scripts_);
}

/// Sends refused requests again in one batch, in their order, up to the first that needs more.
void Multiplexer::resend_refused(TimePoint now) {
  CombinedWait wait = combined_wait();
  for (; !retrying_.empty(); drop_unwanted(now)) {
    const auto pending = retrying_.begin();
    if (!can_be_resent(*pending)) break;
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
}

void Multiplexer::received(std::string_view bytes, TimePoint now) {
  used_ = now;
  pipeline_.stream->received(bytes);
  if (!retry_.in_progress()) {
    pipeline_.collect();
    return deliver(now);
  }
  missing_from_ = TimePoint::max();  // the server answers
  if (retry_.advance(now)) deliver_retry(now);
}

void Multiplexer::deliver(TimePoint now) noexcept {
  PendingRequests& in_flight = pipeline_.in_flight;
  while (!in_flight.empty() && in_flight.front().complete()) {
    PendingRequest& pending = in_flight.front();
    missing_from_ = TimePoint::max();  // the server answers
    pending.repeat = !pending.is_abandoned() && pending.depends_on(retrying_);
    if (pending.is_abandoned() || (!pending.repeat && !pending.was_refused())) {
      for (PendingRequest& refused : retrying_) refused.superseded |= pending.supersedes(refused);
      answer(in_flight, now);
    } else {
      retry_later(in_flight.begin());
    }
  }
}

/// The server has refused the first request in flight.
void Multiplexer::retry_later(PendingRequests::iterator refused) noexcept {
  refused->status = PendingRequest::Status::retrying;
  if (!refused->may_have_acted()) refused->change_ends = RespStream::nowhere;
  // A request that is refused for the second time was first sent before all that were refused
  // once.
  const auto position =
      refused->retried ? std::find_if(retrying_.begin(), retrying_.end(),
                                      [](const PendingRequest& other) { return !other.retried; })
                       : retrying_.end();
  retrying_.splice(position, pipeline_.in_flight, refused);
  known_scripts_.clear();  // the server may have forgotten more than this script
}

void Multiplexer::deliver_retry(TimePoint now) noexcept {
  known_scripts_.add(retry_.script());
  retried_late_ = retry_.kept_changing();
  if (!retry_.kept_changing()) return answer(pipeline_.in_flight, now);
  fail_late(pipeline_.in_flight, "the key kept changing for all of command_timeout", now);
}

Call* Multiplexer::next_leader() const noexcept {
  for (const PendingRequests* list : {&pipeline_.in_flight, &retrying_, &queue_}) {
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
void Multiplexer::answer(PendingRequests& from, TimePoint now) noexcept {
  const auto pending = from.begin();
  note_connection_state(*pending, now);
  note_redirect(*pending);
  if (!pending->is_abandoned()) note_release(*pending, now);
  if (pending->is_release) return answer_release(from, now);
  if (pending->is_renewal) return leave_over(from, pending, Ending::answered);
  if (pending->call != nullptr) {
    pending->call->response.replies = std::move(pending->replies);
    note_sent(*pending);
    pending->call->response.cut_short = pending->cut_short;
    --waiting_;
    to_wake_.finish(*pending->call);
  }
  pool_.put_away(from, pending);
}

void Multiplexer::answer_release(PendingRequests& from, TimePoint now) noexcept {
  const auto pending = from.begin();
  const auto doubt = doubts_.find(value_in(pending->release.command()));
  if (doubt != doubts_.end() && now < doubt->second.until) {
    pending->release.follows(doubt->second.connection);
  }
  const auto outcome =
      pending->release.answered(pending->replies.front(), settings_.options.command_timeout, now);
  if (outcome && doubt != doubts_.end()) doubts_.erase(doubt);
  if (!outcome) {
    leftovers_.to_repeat.splice(leftovers_.to_repeat.end(), from, pending);
  } else if (*outcome == ReleaseOutcome::done) {
    pool_.put_away(from, pending);
  } else {
    pending->outcome = *outcome;
    leave_over(from, pending, Ending::released);
  }
}

void Multiplexer::leave_over(PendingRequests& from, PendingRequests::iterator pending,
                             Ending ending) noexcept {
  pending->ending = ending;
  leftovers_.requests.splice(leftovers_.requests.end(), from, pending);
}

void Multiplexer::recycle(PendingRequests requests) noexcept {
  while (!requests.empty()) pool_.put_away(requests, requests.begin());
}

void Multiplexer::note_sent(const PendingRequest& pending) const noexcept {
  pending.call->response.sent = pending.sent_at;
  pending.call->response.connection = number_;
}

void Multiplexer::give_up_late(Call& call, TimePoint now) noexcept {
  give_up(call, Errc::timed_out,
          call.pending->status == PendingRequest::Status::queued
              ? "others kept the connection for all of command_timeout"
              : "no answer within command_timeout",
          now);
}

void Multiplexer::give_up(Call& call, Errc code, const char* why, TimePoint now) noexcept {
  assert(!call.done() && call.pending->call == &call);
  const auto pending = call.pending;
  const bool sent = pending->status != PendingRequest::Status::queued;
  call.in_doubt = sent && pending->change_ends != RespStream::nowhere;
  if (call.in_doubt) note_sent(*pending);
  const CleanupRelease* const cleanup = call.in_doubt ? call.request.cleanup : nullptr;
  try {
    if (cleanup != nullptr && settings_.role.is_one_of_several) {
      pending->release.begin(call.request.key, *cleanup, now);
      pending->in_doubt_until = now + cleanup->ttl;
    } else if (cleanup != nullptr) {
      call.broken = true;  // unless the cleanup can be queued
      queue(call.request.key, *cleanup, now);
      pending->in_doubt_until = now + cleanup->ttl;
      call.broken = false;
    }
    call.failure.emplace(code, why);
  } catch (const std::bad_alloc&) {
    call.out_of_memory = true;
  }
  if (sent) --waiting_;
  if (pending->status == PendingRequest::Status::in_flight) {
    pending->call = nullptr;  // abandoned: its replies are still to come
    retried_late_ = retry_.in_progress();
    retry_.abandon();
  } else {
    pool_.put_away(sent ? retrying_ : queue_, pending);
  }
  call.state = Call::State::done;  // by the call's own thread, so there is nothing to wake
}

/// The connection is given up. Remembers the acquisitions in doubt on it whose releases may come at
/// any time, and go out on another connection.
void Multiplexer::note_doubts(TimePoint now) noexcept {
  if (!settings_.role.is_one_of_several) return;
  std::erase_if(doubts_, [now](const auto& one) { return now >= one.second.until; });
  const auto note = [&](const protocol::Command& release, TimePoint until) {
    doubts_.insert_or_assign(std::string(value_in(release)), Doubt{until, pipeline_.alive});
  };
  try {
    for (const PendingRequest& pending : pipeline_.in_flight) {
      const Call* const call = pending.call;
      if (call != nullptr && call->request.cleanup != nullptr) {
        note(call->request.cleanup->command, now + call->request.cleanup->ttl);
      } else if (now < pending.in_doubt_until) {
        note(pending.release.command(), pending.in_doubt_until);
      }
    }
  } catch (const std::bad_alloc&) {
    // A key that a release misses stays for its ttl.
  }
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
    pending->why = why;
    leave_over(from, pending, Ending::failed);
  }
}

void Multiplexer::leave_releases_over(PendingRequests& from) noexcept {
  for (auto next = from.begin(); next != from.end();) {
    const auto pending = next++;
    if (!pending->is_release) continue;
    leftovers_.to_repeat.splice(leftovers_.to_repeat.end(), from, pending);
  }
}

void Multiplexer::fail_queued(Call& call, const IoError* why) noexcept {
  fail(queue_, call.pending, why);
}

void Multiplexer::fail_queued(const IoError& why, TimePoint now) noexcept {
  leave_queued_over(why.code(), now, why.what());
  while (!queue_.empty()) fail(queue_, queue_.begin(), &why);
}

void Multiplexer::fail(PendingRequests& from, PendingRequests::iterator pending,
                       const IoError* why) noexcept {
  to_wake_.fail(*pending->call, why);
  pool_.put_away(from, pending);
}

void Multiplexer::wake_queued() noexcept {
  for (const PendingRequest& pending : queue_) {
    if (pending.call != nullptr && !pending.call->is_leading()) to_wake_.add(*pending.call);
  }
}

void Multiplexer::leave_queued_over(Errc why, TimePoint now,
                                    std::string_view explanation) noexcept {
  if (connected()) return;  // queued releases stay behind the refused ones
  if (!queue_.empty()) leftovers_.explain(make_error_code(why), explanation);
  leave_retries_over(now);
  fail_renewals(queue_, make_error_code(why));
  for (PendingRequest& pending : queue_) {
    if (!pending.is_release) continue;
    pending.release.failed(why, now, explanation);
    pending.release.wait_until(schedule_.next());
  }
  leave_releases_over(queue_);
}

void Multiplexer::leave_retries_over(TimePoint now) noexcept {
  fail_renewals(retrying_, make_error_code(Errc::timed_out));
  for (PendingRequest& pending : retrying_) {
    if (!pending.is_release) continue;
    pending.release.require_exclusive_use(now);
    // A connection that is silent for too long is kept for the answers that are missing.
    if (is_stale(now)) {
      pending.release.may_be_overtaken(pipeline_.alive);
    } else if (!all_answered()) {
      pending.release.may_be_overtaken();
    }
  }
  leave_releases_over(retrying_);
}

/// Takes out the first refused requests up to one that is to be retried: the others are superseded,
/// not wanted any more, or out of time.
void Multiplexer::drop_unwanted(TimePoint now) noexcept {
  while (!retrying_.empty() && is_unwanted(retrying_.front(), now)) {
    const auto pending = retrying_.begin();
    if (pending->is_renewal && !pending->superseded) {
      pool_.put_away(retrying_, pending);
    } else if (pending->is_renewal) {
      leave_over(retrying_, pending, Ending::superseded);
    } else if (pending->superseded) {
      answer(retrying_, now);  // the call gets the refusal
    } else {
      fail_late(retrying_, "no answer within command_timeout", now);
    }
  }
}

bool Multiplexer::is_unwanted(const PendingRequest& refused, TimePoint now) const noexcept {
  if (refused.superseded) return true;
  if (refused.is_renewal) return !renewals_.wants(refused.renewal);
  return refused.call != nullptr && now >= refused.call->end;
}

/// The time of the first request of the list is over, and nothing of it is in flight.
void Multiplexer::fail_late(PendingRequests& from, const char* why, TimePoint now) noexcept {
  const auto pending = from.begin();
  if (pending->is_release) {
    pending->release.failed(Errc::timed_out, now);
    return leftovers_.to_repeat.splice(leftovers_.to_repeat.end(), from, pending);
  }
  if (pending->call == nullptr) return fail_renewals(from, make_error_code(Errc::timed_out));
  pending->call->in_doubt = pending->change_ends != RespStream::nowhere;
  // As after a break of the connection, the background sends the cleanup release.
  pending->call->broken = pending->call->in_doubt;
  if (pending->call->in_doubt) note_sent(*pending);
  --waiting_;
  try {
    const IoError late(Errc::timed_out, why);
    fail(from, pending, &late);
  } catch (const std::bad_alloc&) {
    fail(from, pending, nullptr);
  }
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
  const bool is_alone = !retry_.in_progress() || pipeline_.in_flight.size() == 1;
  return leaders <= 1 && is_alone && waiting == static_cast<std::ptrdiff_t>(waiting_);
}

}  // namespace redlatch::detail
