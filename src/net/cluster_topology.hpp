#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <redlatch/options.hpp>

#include "base/event_fd.hpp"
#include "base/io_error.hpp"
#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "base/url.hpp"
#include "net/asking_threads.hpp"
#include "net/cluster_view.hpp"
#include "net/node_reports.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

class Resolver;

/// The nodes of a cluster, and which of them has which key.
///
/// **Asking.** Three nodes at once are asked for the map of slots, at random, each on a thread of
/// its own that ends with the answer (`AskingThreads`): before the first connection, with each
/// further one unless that was done less than 100 ms ago, after a MOVED, and every minute. Each
/// answer goes into the `ClusterView` when it comes, and the newest epoch wins. If no node answers,
/// the last map is used.
///
/// **Nodes.** The number of a node is its seat in the view. Before the first map, all keys are at
/// `unknown_node`, where a connection ends in `NodesLearned` once there is a map. When a node has
/// lost all of its slots, by a failover or as it was taken out of the cluster, the version of its
/// topology grows: nothing more is sent there, and no answer from there is believed. A node that
/// loses single slots answers MOVED for them.
///
/// **Trust.** A cluster tells nothing by itself, and a node that was stopped while a replica was
/// promoted does not know of that for some tenths of a second after it goes on. But it takes a
/// silence of `cluster-node-timeout` to be replaced. So a node is trusted for half of that time
/// behind each of its answers, and what it sends later is believed once two others have said since
/// then that it was not replaced (`confirm`); without others, once it has said since then that it
/// has no replica. Nodes tell that time with their maps. It may be changed while they run, so the
/// shortest one that any of them has told last counts.
class ClusterTopology final : public Topology,
                              public std::enable_shared_from_this<ClusterTopology> {
 public:
  /// `tls` and `credentials`: of the nodes; null without.
  ClusterTopology(const Endpoint& endpoint, const ClientOptions& options,
                  std::shared_ptr<TlsContext> tls, std::shared_ptr<CredentialSource> credentials);
  ClusterTopology(const ClusterTopology&) = delete;
  ClusterTopology& operator=(const ClusterTopology&) = delete;
  ~ClusterTopology() override;

  std::size_t node_of(std::string_view key) const noexcept override {
    return view_seat_of(protocol::slot_of(key));
  }
  std::size_t asked_node_of(std::string_view key) const noexcept override;
  std::size_t max_nodes() const noexcept override { return ClusterView::max_seats; }
  std::shared_ptr<Topology> node(std::size_t number) override;

  Destination locate(TimePoint deadline, int cancel) override {
    return locate(0, deadline, cancel);
  }
  void prefer(const SocketAddress& address) noexcept override;
  void avoid(const SocketAddress& address) noexcept override;
  bool wants_watch() const noexcept override { return true; }
  TimePoint watch(std::vector<pollfd>& descriptors) override;
  void attend() noexcept override;
  void end() noexcept override;

  // The mutexes of the members are locked by one call and unlocked by another, which the analysis
  // cannot follow, as these are no mutexes of this class.
  void before_fork() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_parent() override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_child() noexcept override REDLATCH_NO_THREAD_SAFETY_ANALYSIS;

 private:
  class NodeTopology;
  /// One seat of the view.
  struct Node {
    std::shared_ptr<NodeTopology> topology;
    std::shared_ptr<Resolver> resolver{};  // of its address
    Address address{};
    bool is_empty = true;     // it had no slots when it was looked at last
    TimePoint grace_until{};  // for the answers of others that may be unread
  };
  /// What became of asking one node; neither answer nor failure: memory was out.
  struct Outcome {
    bool is_answered = false;
    std::optional<IoError> failure{};
    TimePoint begun{};
    Address address{};  // of the node
  };
  using Asking = DetachedCall<Outcome>;
  /// A node to be asked.
  struct Asked {
    Address address;
    std::shared_ptr<const Settings> settings;  // to connect to it
    std::shared_ptr<Asking> asking{};          // under way
  };
  using Calls = std::vector<AskingThreads::Call<Outcome>>;
  using Mapping = std::vector<std::pair<Address, Address>>;

  std::size_t view_seat_of(std::size_t slot) const noexcept REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    return view_.seat_of(slot);
  }
  Destination locate(std::size_t number, TimePoint deadline, int cancel);
  void node_redirected(std::size_t node, std::string_view error_reply) noexcept;
  void learn_redirect(std::size_t node, std::string_view error_reply) REDLATCH_REQUIRES(mutex_);
  Node& node_at(std::size_t number) REDLATCH_REQUIRES(mutex_);

  Calls ask_some() REDLATCH_REQUIRES(mutex_);
  void learn_nodes() REDLATCH_REQUIRES(mutex_);
  Outcome ask(const Address& address, std::shared_ptr<const Settings> settings,
              AskingThreads::Talk& talk, int cancel) REDLATCH_EXCLUDES(mutex_);
  Outcome outcome_of(const Address& address, std::shared_ptr<const Settings> settings,
                     AskingThreads::Talk& talk, int cancel) REDLATCH_EXCLUDES(mutex_);
  ClusterAnswer answer_of(const Settings& settings, const Address& address, TimePoint deadline,
                          int cancel) const;
  void learn_answer(const Address& address, const ClusterAnswer& answer, TimePoint begun)
      REDLATCH_REQUIRES(mutex_);
  void note_failure(const Outcome& outcome) REDLATCH_EXCLUDES(mutex_);
  bool wants_node_timeout(const Address& address) const REDLATCH_EXCLUDES(mutex_);
  void confirm_node(std::size_t number, TimePoint since, TimePoint deadline, int cancel)
      REDLATCH_EXCLUDES(mutex_);
  bool is_node_confirmed(std::size_t number, TimePoint since) REDLATCH_EXCLUDES(mutex_);
  std::optional<TimePoint> awaited_until(std::size_t number, TimePoint since, TimePoint deadline)
      REDLATCH_EXCLUDES(mutex_);
  IoError doubt(std::size_t number, NodeReports::Verdict verdict) const REDLATCH_REQUIRES(mutex_);
  Mapping map(ClusterAnswer& answer, const Address& asked) const REDLATCH_EXCLUDES(mutex_);
  void have_mapped(const Address& target) REDLATCH_REQUIRES(mutex_);
  void follow() REDLATCH_REQUIRES(mutex_);
  void lead_to(Node& node, Address address) const REDLATCH_REQUIRES(mutex_);
  void ask_soon() REDLATCH_REQUIRES(mutex_);
  void wake_background() noexcept REDLATCH_REQUIRES(mutex_);
  static void wait_for_some(const Calls& calls, TimePoint deadline, int cancel);
  bool has_map() const REDLATCH_EXCLUDES(mutex_);
  IoError failure_of(const Calls& calls) const REDLATCH_REQUIRES(mutex_);
  std::string why_unanswered() const REDLATCH_REQUIRES(mutex_);

  const ClientOptions options_;  // with which a node is asked
  const std::function<Address(const Address&)> map_address_;
  const Endpoint login_;  // user and password
  const std::shared_ptr<CredentialSource> credentials_;
  // Guarded by the mutex, but for the wait at the end.
  AskingThreads threads_{};

  // Taken before those of the resolvers, and only around a fork together with them.
  mutable Mutex mutex_{};
  std::shared_ptr<TlsContext> tls_ REDLATCH_GUARDED_BY(mutex_);
  bool has_ended_ REDLATCH_GUARDED_BY(mutex_) = false;
  ClusterView view_ REDLATCH_GUARDED_BY(mutex_);
  std::vector<Node> nodes_ REDLATCH_GUARDED_BY(mutex_){};  // by their seats
  std::list<Asked> asked_ REDLATCH_GUARDED_BY(mutex_){};   // the nodes of the view
  NodeReports reports_ REDLATCH_GUARDED_BY(mutex_){view_};
  TimePoint::duration trust_ REDLATCH_GUARDED_BY(mutex_);
  Mapping mapped_ REDLATCH_GUARDED_BY(mutex_){};  // what `map_address` made of the last addresses
  // Those of an ASK that were not among them, of nodes without slots: to be translated, too.
  std::vector<Address> targets_ REDLATCH_GUARDED_BY(mutex_){};
  // The seats to which slots are being moved, by an ASK.
  std::unordered_map<std::size_t, std::size_t> moving_ REDLATCH_GUARDED_BY(mutex_){};
  bool is_in_use_ REDLATCH_GUARDED_BY(mutex_) = false;  // a connection was wanted
  Calls calls_ REDLATCH_GUARDED_BY(mutex_){};           // the last time that nodes were asked
  TimePoint asked_at_ REDLATCH_GUARDED_BY(mutex_){};
  AskingThreads::Looks looks_ REDLATCH_GUARDED_BY(mutex_){};  // of `awaited_until`
  TimePoint ask_at_ REDLATCH_GUARDED_BY(mutex_) = TimePoint::max();
  EventFd wake_ REDLATCH_GUARDED_BY(mutex_){};  // for the background thread
  bool is_woken_ REDLATCH_GUARDED_BY(mutex_) = false;
  std::minstd_rand random_ REDLATCH_GUARDED_BY(mutex_);
};

}  // namespace redlatch::detail
