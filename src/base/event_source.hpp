#pragma once

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// A descriptor that the background thread of a client polls besides its own: the subscription of
/// the waiters. Implementations take their own mutex, and are called without that of `Background`.
class EventSource {
 public:
  EventSource() = default;
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;
  virtual ~EventSource() = default;

  struct Source {
    int fd = -1;       // readable when there is something to receive; -1: there is no descriptor
    TimePoint from{};  // another thread polls it until then
  };
  virtual Source source() const noexcept = 0;
  /// Receives what has come, without waiting.
  virtual void receive_available() noexcept = 0;
  /// Closes the descriptor: the server at the other end is no primary any more.
  virtual void drop() noexcept = 0;
};

}  // namespace redlatch::detail
