#include "engine/completion_sink.hpp"

#include <utility>

namespace redlatch::detail {

void CompletionSink::repeat_later(PendingRequests& from,
                                  PendingRequests::iterator release) noexcept {
  PendingRequests pending;
  pending.splice(pending.end(), from, release);
  repeat_later(std::move(pending));
}

void CompletionSink::repeat_releases_later(PendingRequests& from) noexcept {
  for (auto next = from.begin(); next != from.end();) {
    const auto pending = next++;
    if (pending->is_release) repeat_later(from, pending);
  }
}

bool CompletionSink::answered(PendingRequests& from, PendingRequests::iterator pending,
                              std::chrono::milliseconds settling) noexcept {
  const protocol::Reply& reply = pending->replies.front();
  if (pending->is_renewal) {
    renewed(pending->renewal, reply, pending->sent_at);
    return true;
  }
  const auto outcome = pending->release.answered(reply, settling, BootClock::now());
  if (!outcome) {
    repeat_later(from, pending);
  } else if (*outcome != ReleaseOutcome::done) {
    ended(pending->release, *outcome);
  }
  return outcome.has_value();
}

}  // namespace redlatch::detail
