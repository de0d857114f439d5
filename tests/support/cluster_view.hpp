#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace redlatch::test {

/// What a node says of itself or of another one: a line of CLUSTER NODES.
struct SeenNode {
  struct Range {
    unsigned first;
    unsigned last;
    bool operator==(const Range&) const = default;
  };

  bool has(unsigned slot) const;
  bool has_flag(const std::string& flag) const;
  bool is_primary() const { return has_flag("master"); }

  std::string id{};
  std::uint16_t bus_port = 0;
  std::vector<std::string> flags{};
  /// The id of its primary; empty for a primary.
  std::string primary{};
  std::uint64_t epoch = 0;
  bool is_connected = false;
  std::vector<Range> slots{};
};

/// The answer to CLUSTER NODES, sorted by id.
std::vector<SeenNode> seen_nodes(const std::string& cluster_nodes);

}  // namespace redlatch::test
