#include "engine/call.hpp"

#include <new>
#include <utility>

namespace redlatch::detail {

void WakeList::add(Caller& caller) noexcept {
  ++caller.posts;
  caller.next_to_wake = std::exchange(first_, &caller);
}

void WakeList::finish(Caller& caller) noexcept {
  if (!caller.leads()) add(caller);  // a leader is awake
  caller.state = Caller::State::done;
}

void WakeList::fail(Caller& caller, const IoError* why) noexcept {
  try {
    // A copy would share its text with those of other threads.
    if (why != nullptr) caller.failure.emplace(why->code(), why->what());
    caller.out_of_memory = why == nullptr;
  } catch (const std::bad_alloc&) {
    caller.out_of_memory = true;
  }
  finish(caller);
}

void WakeList::appoint(Caller& caller) noexcept {
  add(caller);
  caller.state = Caller::State::leads;
}

void WakeList::wake(std::unique_lock<std::mutex>& guard) noexcept {
  Caller* next = std::exchange(first_, nullptr);
  guard.unlock();
  while (next != nullptr) {
    // Once posted to, it may be gone.
    Caller* const caller = std::exchange(next, next->next_to_wake);
    if (caller->bell != nullptr) caller->bell->ring();
    caller->turn.post();
  }
}

}  // namespace redlatch::detail
