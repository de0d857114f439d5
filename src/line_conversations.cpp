#include <algorithm>
#include <new>
#include <optional>

#include "line.hpp"

// What needs the connection for itself.

namespace redlatch::detail {

void Line::mend(TimePoint end, Guard& guard) {
  while (!mend_.empty()) {
    Exchange& one = mend_.front();
    if (one.is_renewal && (one.superseded || !aftermath_.wants(one.renewal))) {
      if (one.superseded) aftermath_.superseded(one.renewal);
      pool_.put_away(mend_, mend_.begin());
      continue;
    }
    if (one.superseded) {
      answer(mend_);  // the caller gets the refusal
      continue;
    }
    TimePoint latest = end;
    if (one.caller != nullptr) {
      if (BootClock::now() >= one.caller->end) {
        fail_refused(mend_.begin());
        continue;
      }
      one.caller->mended = true;
      latest = std::min(end, one.caller->end);
    }
    talk(one, guard, [&] { one.mend(*pipeline_.session, latest); });
    if (!connected()) return;
    answer(mend_);
  }
}

/// There is no time left to say it in another way.
void Line::fail_refused(Exchanges::iterator one) noexcept {
  try {
    const IoError late(Errc::timed_out, "no answer within command_timeout");
    --waiting_;
    fail(mend_, one, &late);
  } catch (const std::bad_alloc&) {
    --waiting_;
    fail(mend_, one, nullptr);
  }
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
  return first != nullptr && pipeline_.session->converses(first->request.commands) ? first
                                                                                   : nullptr;
}

bool Line::converses(const protocol::Command& command) const noexcept {
  return pipeline_.session->form_of(command) == protocol::Form::watch;
}

}  // namespace redlatch::detail
