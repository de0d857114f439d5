#pragma once

#include <vector>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// Descriptors that the background thread of a client polls besides its own: the subscriptions of
/// the waiters. Implementations take their own mutex, and are called without that of `Background`.
class EventSource {
 public:
  EventSource() = default;
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;
  virtual ~EventSource() = default;

  struct Source {
    int fd = -1;       // readable when there is something to receive
    TimePoint from{};  // another thread polls it until then
  };
  virtual void add_sources(std::vector<Source>& sources) const = 0;
  /// Receives what has come, without waiting.
  virtual void receive_available() noexcept = 0;
  /// Closes the descriptors whose server is no primary any more.
  virtual void drop() noexcept = 0;
};

}  // namespace redlatch::detail
