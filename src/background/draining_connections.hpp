#pragma once

#include <poll.h>

#include <list>
#include <memory>
#include <vector>

#include <redlatch/detail/clock.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// Connections on which the server has answered nothing for command_timeout. No request is added to
/// them. Each is kept until its releases are answered or their leases are over: on this connection
/// the release is behind the acquisition that it undoes, so it cannot be carried out too early.
/// Meanwhile a copy of each release goes out on a new connection, as the silent one may stay silent
/// for as long as the lease lasts; the copy may reach the server before the acquisition. Where a
/// release is not sent behind the acquisition, as it takes a transaction or a quorum sends it
/// later, the connection is kept until the acquisition is answered.
///
/// No mutex of its own: that of `Background` guards it.
class DrainingConnections {
 public:
  bool empty() const noexcept { return all_.empty(); }
  /// Keeps the connection. Returns the copies of its releases, which are due for a retry now.
  PendingRequests adopt(Pipeline pipeline, std::unique_ptr<Transport> transport) noexcept;
  /// Reads the replies that have come, without waiting, and closes the connections of which no
  /// reply is awaited any more.
  void receive_available() noexcept;
  void close() noexcept { all_.clear(); }
  /// In a forked child: closes the sockets and sends nothing, since the parent goes on with the
  /// connections.
  void abandon() noexcept;

  /// When the leases of the first connection are over.
  TimePoint until() const noexcept;
  /// Adds the sockets to the descriptors of a poll.
  void watch(std::vector<pollfd>& descriptors) const;

 private:
  struct Draining {
    Pipeline pipeline;
    std::unique_ptr<Transport> transport;
    TimePoint until;
  };

  static bool is_over(Draining& one) noexcept;

  std::list<Draining> all_{};
};

}  // namespace redlatch::detail
