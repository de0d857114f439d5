#include "engine/pending_release.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "base/io_error.hpp"

namespace redlatch::detail {

using protocol::Reply;
using protocol::Vote;

namespace {

constexpr std::chrono::milliseconds first_pause{10};
constexpr std::chrono::milliseconds max_pause{1000};

}  // namespace

void PendingRelease::begin(std::string_view key, const CleanupRelease& cleanup, TimePoint now) {
  key_ = key;
  command_ = cleanup.command;
  reason_ = cleanup.of;
  held_ = cleanup.held;
  until_ = now + cleanup.ttl;
  due_ = now;
  pause_ = first_pause;
  repeated_ = false;
  exclusive_use_ = was_not_writable_ = asks_ = false;
  redirects_ = 0;
  overtaken_ = false;
  settled_from_ = {};
  older_.reset();
  done_.reset();
  why_ = Errc::timed_out;
  explanation_.clear();
}

void PendingRelease::broke(Errc why, TimePoint now, std::string_view explanation) noexcept {
  may_be_overtaken();
  const bool first = !std::exchange(repeated_, true);
  failed(why, now, explanation);
  if (first) due_ = now;
}

void PendingRelease::hand_on_to(PendingRelease& copy) {
  if (!done_) done_ = std::make_shared<std::atomic<bool>>(false);
  copy = *this;
  reason_ = CleanupRelease::Reason::notified;
}

void PendingRelease::failed(Errc why, TimePoint now, std::string_view explanation) noexcept {
  why_ = why;
  try {
    explanation_ = explanation;
  } catch (const std::bad_alloc&) {
    explanation_.clear();  // the code says enough
  }
  exclusive_use_ = was_not_writable_ = asks_ = false;
  due_ = now + pause_;
  pause_ = std::min(2 * pause_, max_pause);
}

/// A node of a cluster has not carried the release out. While a slot is moved, one that grants the
/// key to the first waiter cannot be carried out if the lock and its queue are at different nodes:
/// the lock is then deleted, and the waiters find that out by their timers.
void PendingRelease::redirect(const Reply& reply, protocol::Redirection how,
                              TimePoint now) noexcept {
  const std::chrono::milliseconds pause = pause_;
  failed(protocol::classify(reply.text), now, explanation_of(reply));
  asks_ = how == protocol::Redirection::asks;
  if (how == protocol::Redirection::down) return;
  if (how == protocol::Redirection::apart) {
    try {
      const protocol::OwnedCommand whole = command_;
      const std::optional<protocol::Command> alone = protocol::without_side_keys(whole.view());
      if (!alone) return;
      command_ = *alone;
    } catch (const std::bad_alloc&) {
      return;
    }
  }
  if (++redirects_ > protocol::max_redirects) return;
  due_ = now;
  pause_ = pause;
}

std::optional<ReleaseOutcome> PendingRelease::answered(const Reply& reply,
                                                       std::chrono::milliseconds settling,
                                                       TimePoint now) noexcept {
  const protocol::Redirection redirection = protocol::redirection(reply);
  if (redirection != protocol::Redirection::none) {
    redirect(reply, redirection, now);
    return std::nullopt;
  }
  redirects_ = 0;
  asks_ = false;
  // A key of another type counts as "not ours".
  if (reply.is_error() && protocol::classify(reply.text) != Errc::wrong_type) {
    repeated_ = true;
    failed(protocol::classify(reply.text), now, explanation_of(reply));
    was_not_writable_ = why_ == Errc::not_writable;
    return std::nullopt;
  }
  const bool done_here = protocol::vote(reply) == Vote::yes;
  if (done_here && done_) *done_ = true;
  if (done_here || (done_ && *done_)) {
    if (reason_ == CleanupRelease::Reason::lease) return ReleaseOutcome::released;
    return reason_ == CleanupRelease::Reason::ended_lease ? ReleaseOutcome::lost
                                                          : ReleaseOutcome::done;
  }
  if (!older_.expired()) {
    failed(why_, now, explanation_);
    return std::nullopt;
  }
  if (std::exchange(overtaken_, false)) settled_from_ = now + settling;
  if (now < settled_from_) {
    due_ = settled_from_;
    return std::nullopt;
  }
  switch (reason_) {
    case CleanupRelease::Reason::doubt:
    case CleanupRelease::Reason::notified:
      return ReleaseOutcome::done;
    case CleanupRelease::Reason::ended_lease:
      return ReleaseOutcome::lost;
    default:  // an earlier attempt may have released it
      return repeated_ ? ReleaseOutcome::unknown : ReleaseOutcome::lost;
  }
}

ReleaseOutcome PendingRelease::run_out() const noexcept {
  switch (reason_) {
    case CleanupRelease::Reason::doubt:
    case CleanupRelease::Reason::notified:
      return ReleaseOutcome::done;
    case CleanupRelease::Reason::ended_lease:
      return ReleaseOutcome::lost;
    default:
      return ReleaseOutcome::unknown;
  }
}

}  // namespace redlatch::detail
