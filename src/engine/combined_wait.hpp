#pragma once

#include <chrono>
#include <cstddef>

#include <redlatch/protocol/command.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"

namespace redlatch::detail {

/// Joins the requests of one batch that end with the same WAIT or WAITAOF: their changes are sent
/// one behind the other, and the WAIT once behind all of them, as it covers everything that was
/// written on its connection before. Sent one by one, each WAIT would block the requests behind it,
/// since the server reads nothing more from the connection meanwhile.
///
/// The WAIT lasts as long as the longest that one of its requests has, but at most `slack` longer
/// than the shortest. When it ends without success, a request with time left sends another one.
class CombinedWait {
 public:
  /// `slack`: how much longer than its own time a request may be blocked.
  CombinedWait(Pipeline& pipeline, std::chrono::milliseconds slack)
      : pipeline_(pipeline), slack_(slack) {}

  /// Whether the request, which has a call, ends with the same WAIT as those added.
  bool can_add(const PendingRequest& pending) const;
  /// Writes a request of the list, without its WAIT.
  void add(PendingRequests& from, PendingRequests::iterator pending, TimePoint now);
  /// Writes the WAIT for all requests that were added, if any. Nothing else may have been written
  /// since the first of them.
  void append();

 private:
  std::chrono::milliseconds time() const;

  Pipeline& pipeline_;
  const std::chrono::milliseconds slack_;
  std::size_t count_ = 0;  // requests added, which are the last ones in flight
};

}  // namespace redlatch::detail
