#pragma once

#include <stop_token>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

class TenureOf;

/// A place in the queue that a client keeps for each key: first come, first served, and only the
/// first asks the server. Whoever gives a lease of the key up may pass it on to the first.
class QueuePlace {
 public:
  QueuePlace() = default;
  QueuePlace(const QueuePlace&) = delete;
  QueuePlace& operator=(const QueuePlace&) = delete;
  /// Behind `leave`.
  virtual ~QueuePlace() = default;

  virtual bool is_first() const noexcept = 0;
  /// Until `end`, or until there is something to do: a lease was passed on, the lock was given up
  /// while this is the first, or a stop is requested. May come back for nothing.
  virtual void wait(TimePoint end, const std::stop_token& stop) = 0;
  /// Whether one was passed on.
  virtual bool has_lease() const noexcept = 0;
  /// Whether the server answers the first. Those who come while it does not ask it themselves.
  virtual void note_answers(bool come) noexcept = 0;

  /// Gives the place up, with the lock in hand or without: then the next one asks for it at once.
  /// What was passed on by then, if anything was, is the caller's.
  virtual TenureOf leave(bool held) noexcept = 0;
};

}  // namespace redlatch::detail
