#pragma once

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

/// A descriptor that the background thread of a client watches besides its own. Guards itself.
class EventSource {
 public:
  EventSource() = default;
  EventSource(const EventSource&) = delete;
  EventSource& operator=(const EventSource&) = delete;
  virtual ~EventSource() = default;

  struct Source {
    int fd = -1;       // readable when there is something to take in; -1: there is none
    TimePoint from{};  // somebody else does that until then
  };
  virtual Source source() const noexcept = 0;
  virtual void receive_available() noexcept = 0;
  /// The server at the other end is no primary any more.
  virtual void drop() noexcept = 0;
};

}  // namespace redlatch::detail
