#include "engine/call.hpp"

#include <new>
#include <utility>

namespace redlatch::detail {

void WakeQueue::add(Call& call) noexcept {
  ++call.posts;
  call.next_to_wake = std::exchange(first_, &call);
}

void WakeQueue::finish(Call& call) noexcept {
  if (!call.is_leading()) add(call);
  call.state = Call::State::done;
}

void WakeQueue::fail(Call& call, const IoError* why) noexcept {
  try {
    // Not a copy, which would share its text with the failures of other threads.
    if (why != nullptr) call.failure.emplace(why->code(), why->what());
    call.out_of_memory = why == nullptr;
  } catch (const std::bad_alloc&) {
    call.out_of_memory = true;
  }
  finish(call);
}

void WakeQueue::appoint(Call& call) noexcept {
  add(call);
  call.state = Call::State::leading;
}

void WakeQueue::wake() noexcept {
  Call* next = std::exchange(first_, nullptr);
  while (next != nullptr) {
    // The call may be destroyed as soon as its baton is posted.
    Call* const call = std::exchange(next, next->next_to_wake);
    if (call->poll_notifier != nullptr) call->poll_notifier->notify();
    call->baton.post();
  }
}

}  // namespace redlatch::detail
