#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "engine/shared_connection.hpp"
#include "base/io_error.hpp"
#include "net/poll.hpp"

/// How a channel comes by its connection, and what that adds to the time of those who wait.
namespace redlatch::detail {

/// Whether the background may connect now.
bool Channel::may_connect() noexcept {
  const ConnectSchedule& schedule = line_.schedule();
  return BootClock::now() >=
         (line_.has_renewals() ? schedule.next_for_renewals() : schedule.next());
}

/// Until the time of the next attempt, or until renewals that come meanwhile need one sooner.
void Channel::await_attempt(TimePoint next, Guard& guard) {
  constexpr std::chrono::milliseconds look_again{10};
  while (BootClock::now() < next && !may_connect()) {
    const Unlocked unlocked(guard);
    poll_until({}, std::min(next, BootClock::now() + look_again));
  }
}

/// The caller, if there is one, is queued, and waits for the time of the next attempt. All that are
/// queued share its outcome.
void Channel::connect(Caller* caller, const Patience& patience, int cancel, Guard& guard) {
  if (patience.connecting == Connecting::never) {
    return line_.give_up(*caller, Errc::unreachable, "there is no connection");
  }
  const bool on_top = patience.connecting == Connecting::on_top;
  const std::chrono::nanoseconds most = settings_.options.connect_timeout;
  const TimePoint start = BootClock::now();
  const TimePoint end = on_top ? start + most - (connecting_time() - patience.connected_before)
                               : std::min(start + most, patience.end);
  const bool full = end == start + most;
  const TimePoint next = caller == nullptr ? start : line_.schedule().next();
  if (caller != nullptr && next >= end && failure_) {
    return line_.fail_queued(*caller, &*failure_);
  }
  connecting_ = true;
  connecting_since_ = start;
  std::unique_ptr<Session> session;
  std::shared_ptr<const void> life;
  std::optional<IoError> failure;
  try {
    await_attempt(next, guard);
    line_.schedule().attempted(BootClock::now());
    const Unlocked unlocked(guard);
    session = std::make_unique<Session>(settings_, end, cancel);
    life = std::make_shared<char>();
  } catch (const Cancelled&) {
    // Only what nobody waits for can be: there is no caller, and nothing is said of the server.
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // There is neither then.
    session.reset();
  }
  const TimePoint done = BootClock::now();
  connected_for_ += done - start;
  connecting_ = false;
  if (failure) {
    line_.schedule().failed(done);
    failure_.emplace(failure->code(), failure->what());
  }
  if (session) {
    line_.schedule().succeeded(done);
    failure_.reset();
    aftermath_.happened(EventKind::connected, {}, start, {});
  }
  line_.connected_by(std::move(session), std::move(life));
  line_.nudge_queued();  // there is another end to wait for
  if (line_.connected()) return;
  // Callers with more time than this one had find out for themselves whether more time helps.
  if (failure && (full || done < end)) {
    line_.fail_queued(*failure);
  } else if (caller != nullptr) {
    line_.fail_queued(*caller, failure ? &*failure : nullptr);
  }
}

std::chrono::nanoseconds Channel::connecting_time() const noexcept {
  return connected_for_ +
         (connecting_ ? BootClock::now() - connecting_since_ : std::chrono::nanoseconds::zero());
}

TimePoint Channel::end_of(const Patience& patience) const noexcept {
  if (patience.connecting != Connecting::on_top) return patience.end;
  return patience.end +
         std::min<std::chrono::nanoseconds>(connecting_time() - patience.connected_before,
                                            settings_.options.connect_timeout);
}

}  // namespace redlatch::detail
