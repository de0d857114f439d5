#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster_node.hpp"
#include "cluster_view.hpp"
#include "raw_client.hpp"

namespace redlatch::test {

/// How a Cluster is set up.
struct ClusterOptions {
  std::size_t primaries = 3;
  /// Of each primary.
  std::size_t replicas = 1;
  /// Silence for so long makes a node take another one for down. A replica is elected about a
  /// second later. On a busy machine it happens to live nodes, too: a test that is not about it has
  /// a longer one.
  std::chrono::milliseconds node_timeout{1000};
  /// Of the default user at all nodes; empty: none is asked for.
  std::string password{};
  /// For everything: clients, replication, the bus. Always with $REDLATCH_TEST_TLS set.
  bool tls = false;
  /// More settings of all nodes, as on the server's command line.
  std::vector<std::string> settings{};
};

/// A Redis Cluster with ports and directories of its own, which ends with the object, by process
/// ids. Nodes have numbers: first the primaries, which have equal shares of the slots in order,
/// then the first replica of each, in the same order, and so on, then nodes that were added. Any of
/// them may be killed, started again, stopped and continued by way of `node`. A node that is
/// started again knows the cluster, but has no data; with its slots kept, it says CLUSTERDOWN for
/// two seconds. Members throw std::runtime_error where a node refuses what it has to do, or does
/// not run.
class Cluster {
 public:
  /// Comes back when all agree, after some tenths of a second.
  explicit Cluster(ClusterOptions options = {});

  /// `redis-cluster://h:p1,h:p2,...` or `rediss-cluster://`, with the password and all nodes.
  std::string url() const;
  /// The same with some nodes only, whether they run or not.
  std::string url_of(const std::vector<std::size_t>& seeds) const;
  const ClusterOptions& options() const noexcept { return options_; }

  /// With the nodes that were added or removed.
  std::size_t size() const noexcept { return nodes_.size(); }
  ClusterNode& node(std::size_t number) { return *nodes_[number]; }
  std::uint16_t port(std::size_t number) const { return nodes_[number]->port(); }
  /// Logged in, over the Unix socket.
  RawClient at(std::size_t number) const { return nodes_[number]->client(); }
  RawReply command(std::size_t number, const std::vector<std::string>& words) const {
    return at(number).command(words);
  }

  static unsigned slot_of(std::string_view key);
  /// A key in a slot, which begins with `prefix`; no braces in that.
  static std::string key_in(unsigned slot, const std::string& prefix = "key:");
  /// The running node that says that it has the slot; if several do, the one with the newest claim.
  /// Empty during a failover.
  std::optional<std::size_t> primary_of(unsigned slot) const;
  std::optional<std::size_t> primary_of(std::string_view key) const {
    return primary_of(slot_of(key));
  }
  /// A running node that says that it is a replica of that one.
  std::optional<std::size_t> replica_of(std::size_t primary) const;
  /// At the primary that has the key.
  RawClient at_key(std::string_view key) const;
  RawReply command_at_key(std::string_view key, const std::vector<std::string>& words) const {
    return at_key(key).command(words);
  }

  /// Until all running nodes say that all is well, name the same primary for each slot and the same
  /// replicas of it, and each replica has what is written to its primary now.
  bool becomes_agreed(std::chrono::milliseconds bound = default_bound) const;

  /// Moves a slot with all that is in it, as redis-cli does, and tells all primaries.
  void move_slot(unsigned slot, std::size_t to);
  /// The same step by step. Between the two ends, the slot's primary answers ASK for keys that it
  /// does not have, and TRYAGAIN for several keys of which it has some.
  void begin_move(unsigned slot, std::size_t to);
  /// All keys that the slot's primary still has, at once.
  void move_keys(unsigned slot, std::size_t to);
  /// With the keys that are left.
  void finish_move(unsigned slot, std::size_t to);
  /// Leaves the slot where it was. If keys have gone, it moves all the way, and back with them.
  void abort_move(unsigned slot, std::size_t to);

  /// CLUSTER FAILOVER at a replica, again where it is refused or given up: the new primary. Empty
  /// when there is none within the bound.
  std::optional<std::size_t> fail_over(std::size_t primary,
                                       std::chrono::milliseconds bound = default_bound);
  /// CLUSTER FAILOVER TAKEOVER, which asks no other node: false when it is refused.
  bool take_over(std::size_t replica);
  /// Until another running node has the slots of this one, which was killed or stopped: that node.
  std::optional<std::size_t> promoted_from(std::size_t primary, unsigned a_slot,
                                           std::chrono::milliseconds bound = default_bound) const;

  /// An empty primary, which all others have met: its number.
  std::size_t add_node();
  /// Ends a node without slots, and has all others forget it. It keeps its number.
  void remove_node(std::size_t number);

 private:
  static constexpr std::chrono::milliseconds default_bound{40'000};

  ClusterNode::Options node_options() const;
  std::string timeout() const { return std::to_string(options_.node_timeout.count()); }
  void start_primaries();
  void start_replicas();
  void introduce(std::size_t first, std::size_t end);
  void meet_those_before(std::size_t number);
  ClusterMember member(std::size_t number, bool with_address) const;
  std::string slots_at_first(std::size_t primary) const;

  std::vector<SeenNode> seen_by(std::size_t number) const;
  SeenNode seen_by_itself(std::size_t number) const;
  std::vector<std::size_t> running() const;
  bool is_agreed() const;
  bool is_well(std::size_t number) const;
  bool is_in_step(const SeenNode& primary, std::size_t number) const;

  bool knows_all_epochs(std::size_t number) const;
  std::size_t slots_primary(unsigned slot) const;
  bool has_keys(std::size_t number, unsigned slot) const;
  void migrate(unsigned slot, std::size_t from, std::size_t to) const;
  void set_slot(std::size_t at_node, unsigned slot, const std::vector<std::string>& state) const;

  ClusterOptions options_;
  std::vector<std::unique_ptr<ClusterNode>> nodes_{};
};

}  // namespace redlatch::test
