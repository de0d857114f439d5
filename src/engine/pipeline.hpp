#pragma once

#include <memory>

#include "engine/pending_request.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// A connection, and the requests in flight on it. Guarded by the shared connection's mutex, but
/// the leader calls `connection` and `collect` without it.
struct Pipeline {
  std::unique_ptr<Connection> connection{};
  /// Ends with the connection: a `PendingRelease` watches it to know that nothing more arrives on
  /// it.
  std::shared_ptr<const void> alive{};
  PendingRequests in_flight{};

  /// Writes a request of the list into the connection's buffer, and puts it in flight.
  void append(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// Writes a request without its last command, a WAIT, which it shares with a later request.
  void append_without_wait(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// Writes the WAIT that `last` shares with the requests right before it.
  void append_wait(PendingRequest& last, const protocol::Command& wait);
  /// Sends and receives what the socket takes and has, without waiting.
  void receive_available();
  /// Gives the replies that have come to the requests that they belong to.
  void collect();

 private:
  void begin(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  void append_command(PendingRequest& pending, std::size_t i,
                      const protocol::Command& command) const;
  void share_reply(PendingRequests::iterator last);
};

}  // namespace redlatch::detail
