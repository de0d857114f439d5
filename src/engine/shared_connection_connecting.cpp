#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "base/io_error.hpp"
#include "engine/shared_connection.hpp"
#include "net/poll.hpp"

/// How a channel comes by its connection, and what that adds to the time of those who wait.
namespace redlatch::detail {

/// Whether the background may connect now.
bool SharedConnection::may_connect() noexcept {
  const ConnectSchedule& schedule = multiplexer_.schedule();
  return BootClock::now() >=
         (multiplexer_.has_renewals() ? schedule.next_for_renewals() : schedule.next());
}

/// Until the time of the next attempt, or until renewals that come meanwhile need one sooner.
void SharedConnection::await_attempt(TimePoint next, Guard& guard) {
  constexpr std::chrono::milliseconds look_again{10};
  while (BootClock::now() < next && !may_connect()) {
    const Unlocked unlocked(guard);
    poll_until({}, std::min(next, BootClock::now() + look_again));
  }
}

/// The caller, if there is one, is queued, and waits for the time of the next attempt. All that are
/// queued share its outcome.
void SharedConnection::connect(Call* call, const Deadline& deadline, int cancel, Guard& guard) {
  if (deadline.policy == ConnectPolicy::never) {
    return multiplexer_.give_up(*call, Errc::unreachable, "there is no connection");
  }
  const bool separate_timeout = deadline.policy == ConnectPolicy::separate_timeout;
  const std::chrono::nanoseconds max_time = settings_.options.connect_timeout;
  const TimePoint start = BootClock::now();
  const TimePoint end = separate_timeout
                            ? start + max_time - (connecting_time() - deadline.connected_before)
                            : std::min(start + max_time, deadline.end);
  const bool full = end == start + max_time;
  const TimePoint next = call == nullptr ? start : multiplexer_.schedule().next();
  if (call != nullptr && next >= end && failure_) {
    return multiplexer_.fail_queued(*call, &*failure_);
  }
  connecting_ = true;
  connecting_since_ = start;
  std::unique_ptr<Connection> connection;
  std::shared_ptr<const void> alive;
  std::optional<IoError> failure;
  try {
    await_attempt(next, guard);
    multiplexer_.schedule().attempted(BootClock::now());
    const Unlocked unlocked(guard);
    connection = std::make_unique<Connection>(settings_, end, cancel);
    alive = std::make_shared<char>();
  } catch (const Cancelled&) {
    // Only what nobody waits for can be: there is no caller, and nothing is said of the server.
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // There is neither then.
    connection.reset();
  }
  const TimePoint done = BootClock::now();
  connected_for_ += done - start;
  connecting_ = false;
  if (failure) {
    multiplexer_.schedule().failed(done);
    failure_.emplace(failure->code(), failure->what());
  }
  if (connection) {
    multiplexer_.schedule().succeeded(done);
    failure_.reset();
    sink_.record_event(EventKind::connected, {}, start, {});
  }
  multiplexer_.connected_by(std::move(connection), std::move(alive));
  multiplexer_.wake_queued();  // there is another end to wait for
  if (multiplexer_.connected()) return;
  // Callers with more time than this one had find out for themselves whether more time helps.
  if (failure && (full || done < end)) {
    multiplexer_.fail_queued(*failure);
  } else if (call != nullptr) {
    multiplexer_.fail_queued(*call, failure ? &*failure : nullptr);
  }
}

std::chrono::nanoseconds SharedConnection::connecting_time() const noexcept {
  return connected_for_ +
         (connecting_ ? BootClock::now() - connecting_since_ : std::chrono::nanoseconds::zero());
}

TimePoint SharedConnection::end_of(const Deadline& deadline) const noexcept {
  if (deadline.policy != ConnectPolicy::separate_timeout) return deadline.end;
  return deadline.end +
         std::min<std::chrono::nanoseconds>(connecting_time() - deadline.connected_before,
                                            settings_.options.connect_timeout);
}

}  // namespace redlatch::detail
