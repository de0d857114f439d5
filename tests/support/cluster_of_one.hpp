#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster_node.hpp"
#include "loopback.hpp"
#include "raw_client.hpp"

namespace redlatch::test {

/// What makes a server the only node of a cluster that has slots: all of them. Beside it there is a
/// seed, by which clients find it: a node without slots that knows where the server is and never
/// learns anything else, whatever becomes of it.
class ClusterOfOne {
 public:
  /// For a server with these ports. With one for TLS (0: none), the cluster speaks TLS.
  ClusterOfOne(std::uint16_t port, std::uint16_t tls_port);

  /// Before each start of the server, which has this data directory.
  void prepare(const std::string& directory) const;
  /// What the server needs on its command line, to be followed by settings of the test's own. It
  /// opens no ports by itself: no client meets a server that does not have its slots yet.
  std::vector<std::string> settings() const;
  /// After each start, by an administrator: the server has its slots and opens its ports. Throws
  /// std::runtime_error.
  void make_ready(RawClient& server) const;

  std::uint16_t seed_port() const noexcept { return seed_.port(); }

 private:
  ClusterMember server() const;

  std::uint16_t port_;
  std::uint16_t tls_port_;
  ReservedPort bus_port_{};
  ClusterNode seed_;
};

}  // namespace redlatch::test
