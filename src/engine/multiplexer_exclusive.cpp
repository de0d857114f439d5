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

void Line::mend(TimePoint end, const Caller* leader, Guard& guard) {
  for (drop_unwanted(); !mend_.empty(); drop_unwanted()) {
    Exchange& one = mend_.front();
    if (one.can_be_said_again(known())) return say_again(guard);
    if (const Caller* const own = first_refused(); own != nullptr && own != leader) return;
    const protocol::Script* const script = one.command(0).script();
    if (one.caller != nullptr) one.caller->mended = true;
    const TimePoint latest = one.caller == nullptr ? end : std::min(end, one.caller->end);
    talk(one, guard, [&] { one.mend(*pipeline_.session, latest); });
    if (!connected()) return;
    note_known(script);
    answer(mend_);
  }
}

void Line::note_known(const protocol::Script* script) noexcept {
  if (script == nullptr || texts_sent_ == texts_.size()) return;
  if (std::find(known().begin(), known().end(), script) == known().end()) {
    texts_[texts_sent_++] = script;
  }
}

Caller* Line::first_refused() const noexcept {
  if (mend_.empty()) return nullptr;
  Caller* const first = mend_.front().caller;
  return first != nullptr && first->bell == nullptr ? first : nullptr;
}

/// The first ones that need no retry, or for which there is no time left.
void Line::drop_unwanted() noexcept {
  while (!mend_.empty() && is_unwanted(mend_.front())) {
    const auto one = mend_.begin();
    if (one->is_renewal) {
      if (one->superseded) aftermath_.superseded(one->renewal);
      pool_.put_away(mend_, one);
    } else if (one->superseded) {
      answer(mend_);  // the caller gets the refusal
    } else {
      fail_refused(one);
    }
  }
}

bool Line::is_unwanted(const Exchange& refused) const noexcept {
  if (refused.superseded) return true;
  if (refused.is_renewal) return !aftermath_.wants(refused.renewal);
  return refused.caller != nullptr && BootClock::now() >= refused.caller->end;
}

void Line::fail_refused(Exchanges::iterator one) noexcept {
  try {
    const IoError late(Errc::timed_out, "no answer within command_timeout");
    one->caller->in_doubt = one->change_ends != Connection::nowhere;
    one->caller->broken = one->caller->in_doubt;  // the background takes it back, as after a break
    if (one->caller->in_doubt) note_sent(*one);
    --waiting_;
    fail(mend_, one, &late);
  } catch (const std::bad_alloc&) {
    --waiting_;
    fail(mend_, one, nullptr);
  }
}

/// In their order, up to the first for which that is not enough.
void Line::say_again(Guard& guard) {
  const TimePoint now = BootClock::now();
  SharedQuestion question = shared_question();
  for (drop_unwanted(); !mend_.empty(); drop_unwanted()) {
    const auto one = mend_.begin();
    if (!one->can_be_said_again(known())) break;
    if (one->is_to_block()) {
      if (!question.takes(*one)) break;
      question.add(mend_, one, now);
    } else {
      question.ask();
      pipeline_.append(mend_, one, now);
    }
    one->renewal.connection = number_;
    one->retried = true;
  }
  question.ask();
  used_ = now;
  try_flush(guard);
}

void Line::converse(Caller& caller, TimePoint end, Guard& guard) {
  const auto one = caller.exchange;
  one->begin(BootClock::now());
  one->place = Exchange::Place::unanswered;
  pipeline_.unanswered.splice(pipeline_.unanswered.end(), queue_, one);
  ++waiting_;
  talk(*one, guard, [&] { pipeline_.session->run(caller.request.commands, one->replies, end); });
  if (!caller.done()) answer(pipeline_.unanswered);
}

/// Has a conversation, in which the connection breaks with whatever fails.
template <class Conversation>
void Line::talk(Exchange& about, Guard& guard, Conversation conversation) {
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
  if (pipeline_.session->in_doubt()) about.change_ends = 0;
  break_off(failure ? &*failure : nullptr);
}

Caller* Line::converses() const noexcept {
  Caller* const first = queue_.front().caller;
  if (first == nullptr || !pipeline_.session->converses(first->request.commands)) return nullptr;
  assert(first->bell == nullptr);
  return first;
}

bool Line::converses(const protocol::Command& command) const noexcept {
  return pipeline_.session->form_of(command) == protocol::Form::watch;
}

}  // namespace redlatch::detail
