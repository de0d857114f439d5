#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fake_cluster_node.hpp"
#include "replication.hpp"
#include "sim_servers.hpp"

namespace redlatch::test {

/// A cluster of three primaries with a replica each. This object knows how it is, and decides when
/// each node learns of a change; nodes do not talk to each other.
///
/// A primary that is away for longer than `cluster-node-timeout` has failed, as soon as a majority
/// of the primaries runs. All nodes know that before its replica replaces it, half a second later
/// at least. A node that was away knows nothing new for up to `max_ignorance` after it is back.
class ClusterServers final : public SimServers {
 public:
  explicit ClusterServers(World& world);

  std::vector<std::string> urls() const override;
  std::string key(const std::string& kind, std::size_t number) const override;
  bool have(SimFault fault, SimTime time) override;
  bool is_well() const override;
  bool is_free(const std::string& key) const override;
  void note_losses(Claim& claim, const Possession& of) const override;

 private:
  /// A primary and its replica, and what becomes of them.
  struct Shard {
    explicit Shard(World& world, SimTime max_delay) : group(world, max_delay) {}
    Replication group;
    std::vector<bool> was_forced{};  // each failover: neither by an election nor with all data
    bool is_electing = false;
    std::optional<std::size_t> former{};  // the number of a node that has to become a replica
  };
  /// What becomes of one node.
  struct Node {
    FakeClusterNode fake;
    std::uint64_t absences = 0;
    bool is_down = false;  // for some time after its start
  };
  enum class Failover { elected, ordered, forced };

  std::size_t number_of(const SimServer& server) const;
  Shard& shard_of(std::size_t node) { return shards_[node % shards_.size()]; }
  const Shard& shard_of(std::size_t node) const { return shards_[node % shards_.size()]; }
  /// The number of a member of a shard.
  std::size_t node_of(std::size_t shard, std::size_t member) const {
    return shard + member * shards_.size();
  }
  std::size_t primary_of(std::size_t shard) const {
    return node_of(shard, shards_[shard].group.primary());
  }
  std::size_t shard_of_slot(std::size_t slot) const { return map_.owners[slot] % shards_.size(); }
  bool is_moving(const Shard& shard) const {
    return move_ && (&shards_[move_->from] == &shard || &shards_[move_->to] == &shard);
  }
  bool has_majority() const;

  void left(SimServer& server) override;
  void is_back(SimServer& server, bool has_data) override;
  void announce(SimTime max_delay);
  void learn_later(std::size_t node, SimTime time);
  void learn(std::size_t node);
  void decide_state(Node& node) const;
  void fail(std::size_t node, std::uint64_t absence);
  void elect(std::size_t node);
  void forgive(std::size_t node);
  std::optional<std::size_t> candidate_of(const Shard& shard) const;
  void promote(Shard& shard, std::size_t member, Failover how);
  bool order_failover(bool is_forced);
  bool begin_move(SimTime time);
  void move_key(SimTime pause);
  void end_move();

  /// A slot that is being moved from one shard to another.
  struct Move {
    unsigned slot;
    std::size_t from;
    std::size_t to;
  };

  std::chrono::milliseconds node_timeout_;
  bool needs_all_slots_;
  std::deque<Shard> shards_{};
  std::deque<Node> nodes_{};
  FakeClusterNode::Map map_{};
  std::shared_ptr<const FakeClusterNode::Map> newest_{};  // a copy, for the nodes
  std::uint64_t epoch_ = 0;
  std::optional<Move> move_{};
};

}  // namespace redlatch::test
