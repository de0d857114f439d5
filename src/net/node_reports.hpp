#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <random>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/options.hpp>

#include "net/cluster_view.hpp"

namespace redlatch::detail {

/// What each node of a cluster has reported when it was asked for the map, and what follows from
/// all of that for a node that may have been replaced. No socket, clock or mutex: the topology
/// guards it by its own.
class NodeReports {
 public:
  /// How many nodes have to vouch for another one: one may not have heard of a failover yet.
  static constexpr std::size_t enough_others = 2;
  /// How long a node takes at most, once it goes on, to hear that it was replaced.
  static constexpr std::chrono::milliseconds max_ignorance{250};
  /// A node that had not answered for that long when others were asked counts as one that hangs.
  static constexpr std::chrono::milliseconds max_wait{500};
  /// How often a node is asked for `cluster-node-timeout` at most.
  static constexpr std::chrono::seconds node_timeout_period{1};

  /// `view`: the view that the answers have made.
  explicit NodeReports(const ClusterView& view) : view_(view) {}

  /// Adds the nodes that the view has got, and forgets those that it has lost.
  void follow_view();
  /// All nodes, at random: first those that have not failed, then those that have, the longest ago
  /// first. Last are those that have not answered yet, which hang, perhaps.
  std::vector<Address> in_order(std::minstd_rand& random) const;

  void note_asked(const Address& node, TimePoint now);
  /// The view has taken the answer already. `begun`: when the node began to be asked.
  void note_answer(const Address& node, const ClusterAnswer& answer, TimePoint begun,
                   TimePoint now);
  void note_failure(const Address& node);
  /// It was neither answered nor did the node fail: this process was stopped meanwhile.
  void forget_question(const Address& node) noexcept;
  /// The same for all that were asked between these times and have failed.
  void forget_failures(TimePoint since, TimePoint until) noexcept;
  /// In a forked child, which gets none of the answers.
  void forget_questions() noexcept;

  bool wants_node_timeout(const Address& node, TimePoint now) const;
  /// The shortest that any node has told last; empty if none has.
  std::optional<std::chrono::milliseconds> node_timeout() const;

  /// What the nodes that were asked since some time say of another one.
  enum class Verdict {
    settled,  // it is well, and no more answers matter; or its seat is empty
    well,     // all that have answered vouch for it
    failed,   // one takes it for failed, or for one without slots
    unknown   // none has answered
  };
  /// Nodes that cannot be reached, or hang, are not waited for. If no other node answers, what the
  /// node says itself counts, once it has heard that it was replaced, if it can; at once if it has
  /// no replica. By the last map alone no node is well: it may have got a replica since then.
  Verdict verdict(std::size_t seat, TimePoint since) const;

 private:
  struct Report {
    Address node;
    bool is_awaited = false;             // the answer to the last question
    TimePoint asked{};                   // when that was put
    std::uint64_t failed = 0;            // the number of its last failure; 0: it has answered
    TimePoint answered_since{};          // when the question was put that it has answered last
    std::vector<std::size_t> vouched{};  // the seats of the primaries that are well, by the answer
    bool has_no_replica = false;         // it is a primary, by its own answer
    std::optional<std::chrono::milliseconds> node_timeout{};  // empty: it has not told
    TimePoint ask_timeout_at{};                               // when it is asked for that again
  };

  Report* find(const Address& node) noexcept;
  const Report* find(const Address& node) const noexcept;
  bool has_no_replica(std::size_t seat, TimePoint since) const noexcept;

  const ClusterView& view_;
  std::list<Report> reports_{};  // of the nodes of the view
  std::uint64_t failures_ = 0;
};

}  // namespace redlatch::detail
