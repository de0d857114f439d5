#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "raw_client.hpp"

namespace redlatch::test {

/// A primary of a cluster says CLUSTERDOWN for its first two seconds (CLUSTER_WRITABLE_DELAY in
/// cluster.c), however it got its slots. A replica does not, nor does a replica that becomes a
/// primary. So a primary of a test starts as the replica of a node that does not exist and has its
/// slots, and takes them over: it is ready after some milliseconds.

/// A node, as a nodes.conf has it.
struct ClusterMember {
  std::string id;
  /// Where nothing listens unless they are set: the address is not known yet. Valkey 8.1 takes a
  /// node without an address for failed.
  std::uint16_t port = 1;
  std::uint16_t bus_port = 1;
  /// The id of its primary; empty for a primary.
  std::string primary{};
  /// Of a primary: "0-16383"; may be empty.
  std::string slots{};
};

/// An id: 40 hexadecimal digits that begin with `number`.
std::string cluster_id(std::uint16_t number);

/// The nodes.conf of the first member. One that is a primary with slots starts as the replica of a
/// node that does not exist, until `take_slots`. What `take_slots` makes is newer than `epoch`.
std::string nodes_conf(std::vector<ClusterMember> members, unsigned epoch);

/// Makes the node a primary with the slots that `nodes_conf` has for it. Waits while it loads its
/// data. Throws std::runtime_error.
void take_slots(RawClient& node);

}  // namespace redlatch::test
