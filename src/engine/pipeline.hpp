#pragma once

#include <memory>

#include "engine/pending_request.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// A connection, and what was said on it and is not answered yet.
struct Pipeline {
  std::unique_ptr<Connection> connection{};
  /// Ends with the connection, for what has to know that nothing more arrives by it.
  std::shared_ptr<const void> alive{};
  PendingRequests in_flight{};

  /// Says the first of the list's exchanges behind the others.
  void append(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// The same for all but its last command, whose answer it shares with the exchanges behind it...
  void append_change(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// ...up to the last one, for which it is said.
  void append_question(PendingRequest& last, const protocol::Command& question);
  /// Sends and takes in what can be without waiting.
  void receive_available();
  /// Gives the replies that have come to the exchanges that they belong to.
  void collect();

 private:
  void begin(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  void append_command(PendingRequest& pending, std::size_t i,
                      const protocol::Command& command) const;
  void share_answer(PendingRequests::iterator last);
};

}  // namespace redlatch::detail
