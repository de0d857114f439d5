#include <algorithm>
#include <chrono>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "channel.hpp"
#include "io_error.hpp"

/// How a channel comes by its connection, and what that adds to the time of those who wait.
namespace redlatch::detail {

/// The caller, if there is one, is queued.
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
  connecting_ = true;
  connecting_since_ = start;
  std::unique_ptr<Session> session;
  std::optional<IoError> failure;
  try {
    const Unlocked unlocked(guard);
    session = std::make_unique<Session>(settings_, end, cancel);
  } catch (const Cancelled&) {
    // Only what nobody waits for can be: there is no caller, and nothing is said of the server.
  } catch (const IoError& error) {
    failure = error;
  } catch (const std::bad_alloc&) {
    // There is neither then.
  }
  connected_for_ += BootClock::now() - start;
  connecting_ = false;
  if (session) aftermath_.happened(EventKind::connected, {}, start, {});
  line_.connected_by(std::move(session));
  line_.nudge_queued();  // there is another end to wait for
  if (line_.connected()) return;
  // Who has more patience than this caller had finds out for itself.
  if (full && failure) {
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
