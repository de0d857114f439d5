#pragma once

#include <poll.h>

#include <list>
#include <vector>

#include <redlatch/detail/clock.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"

namespace redlatch::detail {

/// Connections that a server has left unanswered for command_timeout. They carry nothing new. Each
/// is kept until its releases are answered or the leases over, since a release that was sent behind
/// the acquisition that it undoes cannot be overtaken by it. Meanwhile a copy of each release goes
/// out on a new connection: the silent one may stay silent for as long as the lease.
class DrainingConnections {
 public:
  bool empty() const noexcept { return all_.empty(); }
  /// The copies, which are due.
  PendingRequests adopt(Pipeline pipeline) noexcept;
  /// Takes in what has come, without waiting, and closes what is done.
  void receive_available() noexcept;
  void close() noexcept { all_.clear(); }
  /// In a forked child: without a word to the server.
  void abandon() noexcept;

  /// When the first of them is over by itself.
  TimePoint until() const noexcept;
  void watch(std::vector<pollfd>& descriptors) const;

 private:
  struct Retired {
    Pipeline pipeline;
    TimePoint until;
  };

  static bool is_over(Retired& one) noexcept;

  std::list<Retired> all_{};
};

}  // namespace redlatch::detail
