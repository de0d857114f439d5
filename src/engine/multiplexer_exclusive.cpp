#include <algorithm>
#include <cassert>
#include <cstddef>
#include <new>
#include <optional>
#include <span>

#include "engine/multiplexer.hpp"
#include "engine/shared_question.hpp"

// What needs the connection for itself.

namespace redlatch::detail {

void Multiplexer::retry_refused(TimePoint end, const Call* leader, Guard& guard) {
  for (drop_unwanted(); !retrying_.empty(); drop_unwanted()) {
    PendingRequest& pending = retrying_.front();
    if (pending.can_be_sent_again(known())) return send_again(guard);
    if (const Call* const own = first_refused(); own != nullptr && own != leader) return;
    const protocol::Script* const script = pending.command(0).script();
    if (pending.call != nullptr) pending.call->retrying = true;
    const TimePoint latest = pending.call == nullptr ? end : std::min(end, pending.call->end);
    run_exclusively_with(pending, guard,
                         [&] { pending.retry_refused(*pipeline_.connection, latest); });
    if (!connected()) return;
    note_known(script);
    answer(retrying_);
  }
}

void Multiplexer::note_known(const protocol::Script* script) noexcept {
  if (script == nullptr || texts_sent_ == texts_.size()) return;
  if (std::find(known().begin(), known().end(), script) == known().end()) {
    texts_[texts_sent_++] = script;
  }
}

Call* Multiplexer::first_refused() const noexcept {
  if (retrying_.empty()) return nullptr;
  Call* const first = retrying_.front().call;
  return first != nullptr && first->poll_notifier == nullptr ? first : nullptr;
}

/// The first ones that need no retry, or for which there is no time left.
void Multiplexer::drop_unwanted() noexcept {
  while (!retrying_.empty() && is_unwanted(retrying_.front())) {
    const auto pending = retrying_.begin();
    if (pending->is_renewal) {
      if (pending->superseded) sink_.superseded(pending->renewal);
      pool_.put_away(retrying_, pending);
    } else if (pending->superseded) {
      answer(retrying_);  // the caller gets the refusal
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
    pending->call->broken =
        pending->call->in_doubt;  // the background takes it back, as after a break
    if (pending->call->in_doubt) note_sent(*pending);
    --waiting_;
    fail(retrying_, pending, &late);
  } catch (const std::bad_alloc&) {
    --waiting_;
    fail(retrying_, pending, nullptr);
  }
}

/// In their order, up to the first for which that is not enough.
void Multiplexer::send_again(Guard& guard) {
  const TimePoint now = BootClock::now();
  SharedQuestion question = shared_question();
  for (drop_unwanted(); !retrying_.empty(); drop_unwanted()) {
    const auto pending = retrying_.begin();
    if (!pending->can_be_sent_again(known())) break;
    if (pending->is_to_block()) {
      if (!question.takes(*pending)) break;
      question.add(retrying_, pending, now);
    } else {
      question.ask();
      pipeline_.append(retrying_, pending, now);
    }
    pending->renewal.connection = number_;
    pending->retried = true;
  }
  question.ask();
  used_ = now;
  try_flush(guard);
}

void Multiplexer::run_exclusively(Call& call, TimePoint end, Guard& guard) {
  const auto pending = call.pending;
  pending->begin(BootClock::now());
  pending->status = PendingRequest::Status::in_flight;
  pipeline_.in_flight.splice(pipeline_.in_flight.end(), queue_, pending);
  ++waiting_;
  run_exclusively_with(*pending, guard, [&] {
    pipeline_.connection->run(call.request.commands, pending->replies, end);
  });
  if (!call.done()) answer(pipeline_.in_flight);
}

/// Has a conversation, in which the connection breaks with whatever fails.
template <class Conversation>
void Multiplexer::run_exclusively_with(PendingRequest& about, Guard& guard,
                                       Conversation conversation) {
  std::optional<IoError> failure;
  try {
    const Unlocked unlocked(guard);
    conversation();
    used_ = BootClock::now();
    return;
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // Then there is no error to tell.
  }
  if (pipeline_.connection->in_doubt()) about.change_ends = 0;
  fail_connection(failure ? &*failure : nullptr);
}

Call* Multiplexer::needs_exclusive_use() const noexcept {
  Call* const first = queue_.front().call;
  if (first == nullptr || !pipeline_.connection->needs_exclusive_use(first->request.commands))
    return nullptr;
  assert(first->poll_notifier == nullptr);
  return first;
}

bool Multiplexer::needs_exclusive_use(const protocol::Command& command) const noexcept {
  return pipeline_.connection->form_of(command) == protocol::Form::watch;
}

}  // namespace redlatch::detail
