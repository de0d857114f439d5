#include "cluster_start.hpp"

#include <stdexcept>

#include "eventually.hpp"

namespace redlatch::test {
namespace {

constexpr const char* not_there = "ffffffffffffffffffffffffffffffffffffffff";

/// As in `CLUSTER NODES`: id, address, flags, primary, ping, pong, epoch, link, slots. A shard is a
/// primary with its replicas. Valkey 9.1 ends at a SPUBLISH when it has not read of its own, and
/// Valkey 8.1 refuses a replica of another one; Redis 7.0 takes it for the name of a host until it
/// hears of the node.
std::string line_of(const ClusterMember& member, bool is_myself, const std::string& shard) {
  std::string flags = is_myself ? "myself," : "";
  flags += member.primary.empty() ? "master" : "slave";
  const std::string address = "127.0.0.1:" + std::to_string(member.port) + "@" +
                              std::to_string(member.bus_port) + ",,shard-id=" + shard;
  const std::string primary = member.primary.empty() ? "-" : member.primary;
  return member.id + " " + address + " " + flags + " " + primary + " 0 0 0 connected" +
         (member.slots.empty() ? "" : " " + member.slots) + "\n";
}

}  // namespace

std::string cluster_id(std::uint16_t number) {
  std::string id = std::to_string(number);
  id.append(40 - id.size(), 'a');
  return id;
}

std::string nodes_conf(std::vector<ClusterMember> members, unsigned epoch) {
  std::string text;
  for (ClusterMember& member : members) {
    const std::string shard = member.primary.empty() ? member.id : member.primary;
    const bool is_myself = text.empty();
    if (is_myself && !member.slots.empty()) {
      ClusterMember former{.id = not_there, .slots = {}};
      former.slots.swap(member.slots);
      member.primary = former.id;
      text = line_of(member, is_myself, shard) + line_of(former, false, shard);
    } else {
      text += line_of(member, is_myself, shard);
    }
  }
  return text + "vars currentEpoch " + std::to_string(epoch) + " lastVoteEpoch 0\n";
}

void take_slots(RawClient& node) {
  const bool is_ready = eventually([&] {
    return node.command({"CLUSTER", "INFO"}).text.find("cluster_state:ok") != std::string::npos &&
           node.command({"CLUSTER", "FAILOVER", "TAKEOVER"}).text == "OK";
  });
  if (!is_ready) {
    throw std::runtime_error("a node of a cluster does not take its slots: " +
                             node.command({"CLUSTER", "INFO"}).text);
  }
  node.command({"CLUSTER", "FORGET", not_there});
}

}  // namespace redlatch::test
