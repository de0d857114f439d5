#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>
#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/side_key.hpp>

namespace redlatch::detail {

/// What one node says about the whole of its cluster.
struct ClusterAnswer {
  /// Consecutive slots of one primary.
  struct Range {
    std::size_t first = 0;
    std::size_t last = 0;
    Address primary{};
    std::string id{};
    /// The cluster takes the primary for down, and a replica may be replacing it.
    bool has_failed = false;
    /// Some node is its replica, reachable or not, or the node does not tell.
    bool may_be_replaced = true;
  };

  /// The largest configuration epoch of the nodes that have slots, as far as this node knows. Each
  /// failover, and each change of a slot's owner, has a larger one. Source: the cluster
  /// specification, "Configuration handling, propagation, and failovers". (The current epoch grows
  /// before that, at all who vote for a new primary: they know that there may be one, but not yet
  /// whether.) 0: the node does not tell.
  std::uint64_t epoch = 0;
  /// A node that is silent for so long may be replaced. Empty: the node was not asked for it, or
  /// has not told.
  std::optional<std::chrono::milliseconds> node_timeout{};
  bool refuses_node_timeout = false;
  std::vector<Range> ranges{};
  std::vector<Address> nodes{};  // primaries and replicas
};

/// A node's reply that the key is at another node.
struct Redirect {
  std::size_t slot = 0;
  Address to{};
  /// ASK: the slot is being moved there, and the command must be preceded by ASKING. Otherwise
  /// MOVED: the slot is there.
  bool asks = false;
};

/// CLUSTER NODES: the epoch, and which primaries have failed. An error adds nothing.
void add_nodes(ClusterAnswer& answer, const protocol::Reply& cluster_nodes);
/// CONFIG GET cluster-node-timeout.
std::optional<std::chrono::milliseconds> read_node_timeout(const protocol::Reply& reply) noexcept;
/// CLUSTER SLOTS, which says no host for the node that was asked, if that does not know its own.
/// Throws `IoError` with `protocol_error` for a reply of another form.
ClusterAnswer read_slots(const protocol::Reply& reply, const Address& asked);
/// Nothing if the error is no redirect. `asked`: the node that has sent it.
std::optional<Redirect> read_redirect(std::string_view error_reply, const Address& asked);

/// Which node has which slot, by the answers of all nodes: that of the newest epoch is believed. A
/// node that was cut off from the others, or stopped, may not know of a failover, and still grant
/// locks.
///
/// Each primary has a *seat*, a small number that stays the same while the primary has slots. A
/// seat without slots may go to another node. Before the first answer, all slots are at
/// `unknown_seat`, which no node ever has. The view has no socket, clock or mutex: the topology
/// guards it by its own, but for `seat_of`, which any thread may call.
class ClusterView {
 public:
  static constexpr std::size_t unknown_seat = 0;
  static constexpr std::size_t max_seats = 1024;
  /// Nodes that are remembered besides those of the URL.
  static constexpr std::size_t max_learned = 1024;
  /// If all answers that come in this time have smaller epochs, the cluster was set up anew.
  static constexpr std::chrono::minutes memory{1};

  /// The nodes that the URL names.
  explicit ClusterView(std::vector<Address> named);

  /// The seats whose node has lost its last slot, or is another one now.
  using Changed = std::vector<std::size_t>;
  /// `begun`: when the node began to be asked. An answer of the same epoch as the last one counts
  /// only if it was asked for later. Throws `IoError`, with no effect, for more primaries than
  /// there are seats.
  Changed take(const ClusterAnswer& answer, TimePoint begun, TimePoint now);
  /// A node says that the slot is at this address.
  Changed move(std::size_t slot, const Address& to);
  /// The seat of a node that has no slots yet, perhaps, and is about to get some.
  std::size_t seat_at(const Address& address, Changed& changed);

  /// Whether any answer was taken.
  bool is_known() const noexcept { return is_known_; }
  std::size_t seats() const noexcept { return seats_.size(); }
  /// Empty for `unknown_seat`.
  const Address& address(std::size_t seat) const noexcept { return seats_[seat].address; }
  /// The last seat of the node; nothing if it has none.
  std::optional<std::size_t> find(const Address& address) const noexcept;
  bool is_empty(std::size_t seat) const noexcept { return seats_[seat].slots == 0; }
  /// Whether nothing is to be sent to its node any more: it has lost its slots, and awaits none.
  bool is_left(std::size_t seat) const noexcept {
    return is_empty(seat) && !seats_[seat].awaits_slots;
  }
  /// `unknown_seat` before the first answer, and a node's behind it.
  std::size_t seat_of(std::size_t slot) const noexcept {
    return slots_[slot].load(std::memory_order_relaxed);
  }
  /// The nodes of the last answer.
  const std::vector<Address>& learned() const noexcept { return learned_; }
  /// All nodes that may be asked, those of the last answer first.
  std::vector<Address> nodes() const;

 private:
  struct Seat {
    Address address{};
    std::size_t slots = 0;
    // Slots are being moved to it. Several nodes may wait for their first ones: with one seat for
    // all of them, each ASK would give it to another node and close the connections to the last.
    bool awaits_slots = false;

    bool is_free() const noexcept { return slots == 0 || address.host.empty(); }
  };

  std::size_t seat_for(const Address& address, Changed& changed);
  void assign(const ClusterAnswer::Range& range, std::size_t seat) noexcept;
  void assign(std::size_t slot, std::size_t seat) noexcept;
  void assign_unknown(std::size_t seat) noexcept;
  std::vector<Seat>::iterator free_seat(bool awaits_slots) noexcept;
  void require_seats(const ClusterAnswer& answer) const;
  bool is_news(const ClusterAnswer& answer, TimePoint begun, TimePoint now) const noexcept;

  const std::vector<Address> named_;
  std::vector<Address> learned_{};
  std::vector<Seat> seats_;
  std::array<std::atomic<std::uint16_t>, protocol::slots> slots_{};
  std::uint64_t epoch_ = 0;
  TimePoint begun_{};  // when the node of the last answer began to be asked
  // When the first answer came that was older than the epoch, if no other one has come since then.
  TimePoint older_since_{};
  bool is_known_ = false;
};

}  // namespace redlatch::detail
