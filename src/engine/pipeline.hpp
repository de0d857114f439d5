#pragma once

#include <memory>

#include "engine/pending_request.hpp"
#include "engine/script_forms.hpp"
#include "net/resp_stream.hpp"

namespace redlatch::detail {

/// The stream of a connection, and the requests in flight on it. No socket.
struct Pipeline {
  std::unique_ptr<RespStream> stream{};  // null without a connection
  ScriptForms forms{};
  /// Ends with the connection: a `PendingRelease` watches it to know that nothing more arrives on
  /// it.
  std::shared_ptr<const void> alive{};
  PendingRequests in_flight{};

  /// Appends a request of the list to the stream, and puts it in flight.
  void append(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// Appends a request without its last command, a WAIT, which it shares with a later request.
  void append_without_wait(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// Appends the WAIT that `last` shares with the requests right before it.
  void append_wait(PendingRequest& last, const protocol::Command& wait);
  /// Gives the replies that have come to the requests that they belong to. Throws `IoError`.
  void collect();

 private:
  void begin(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  void append_command(PendingRequest& pending, std::size_t i,
                      const protocol::Command& command) const;
  void share_reply(PendingRequests::iterator last);
};

}  // namespace redlatch::detail
