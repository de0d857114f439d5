#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "base/settings.hpp"
#include "engine/pending_request.hpp"
#include "engine/shared_connection.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

/// All connections of a client: `ClientOptions::connections` for each node, and as many for
/// commands that block at the server, such as WAIT, so that others do not wait behind them. There
/// is one node, or those of a cluster. Each connection is opened when it is first used.
///
/// A node that was made stays until the end, so that any thread may use it without a mutex: its
/// seat goes to another node of the cluster when it has no slots any more.
class NodeConnections {
 public:
  NodeConnections(const Settings& settings, CompletionSink& sink)
      : settings_(settings), sink_(sink), nodes_(settings.topology->max_nodes()) {
    make(0);
  }
  NodeConnections(const NodeConnections&) = delete;
  NodeConnections& operator=(const NodeConnections&) = delete;
  ~NodeConnections() = default;

  /// Whether there may be several nodes.
  bool are_of_cluster() const noexcept { return settings_.topology->max_nodes() > 1; }
  /// How many nodes were made; those with a smaller number exist from then on.
  std::size_t nodes() const noexcept { return count_.load(std::memory_order_acquire); }
  /// `index`: as of `Routes`. Makes the node if need be, without connecting; without memory, node 0
  /// has to do, at which requests to a cluster fail.
  SharedConnection& at(std::size_t node, std::size_t index, bool apart = false) noexcept {
    const std::size_t count = settings_.options.connections;
    assert(index < count);
    return *node_at(node).connections[apart ? count + index : index];
  }
  /// The connection of the key, certain only while the key is pinned and its slot does not move.
  SharedConnection& of(std::string_view key, bool apart = false) noexcept {
    return at(node_of(key, false), settings_.routes->connection(key), apart);
  }
  /// The connection for what the background sends.
  SharedConnection& of(const Lease& renewed) noexcept {
    return at(node_of(renewed.key(), renewed.asks()), settings_.routes->connection(renewed.key()));
  }
  SharedConnection& of(const PendingRelease& release) noexcept {
    const auto [node, index] = place_of(release);
    return at(node, index);
  }
  /// The numbers of the node and of the connection that a release goes to. Makes no node, for
  /// callers with a mutex that is taken after that of this class.
  std::pair<std::size_t, std::size_t> place_of(const PendingRelease& release) const noexcept {
    return {node_of(release.key(), release.asks()), settings_.routes->connection(release.key())};
  }
  /// The settings of a node, whose topology is the node's own.
  const Settings& settings(std::size_t node) noexcept { return node_at(node).settings; }

  template <class Function>
  void for_each(const Function& function) const {
    const std::size_t count = nodes();
    for (std::size_t i = 0; i < count; ++i) {
      for (const auto& connection : nodes_[i]->connections) function(*connection);
    }
  }

  // Around fork(2). The mutexes of the connections are locked by one call and unlocked by another,
  // which the analysis cannot follow.
  void before_fork() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    mutex_.lock();
    for_each([](SharedConnection& one) REDLATCH_NO_THREAD_SAFETY_ANALYSIS { one.before_fork(); });
  }
  void after_fork_in_parent() REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    for_each([](SharedConnection& one)
                 REDLATCH_NO_THREAD_SAFETY_ANALYSIS { one.after_fork_in_parent(); });
    mutex_.unlock();
  }
  void after_fork_in_child() noexcept REDLATCH_NO_THREAD_SAFETY_ANALYSIS {
    for_each([](SharedConnection& one)
                 REDLATCH_NO_THREAD_SAFETY_ANALYSIS { one.after_fork_in_child(); });
    mutex_.unlock();
  }

 private:
  struct Node {
    Settings settings;
    std::vector<std::unique_ptr<SharedConnection>> connections{};  // the last half: apart
  };

  /// `asks`: the node to which the key is being moved.
  std::size_t node_of(std::string_view key, bool asks) const noexcept {
    const Topology& topology = *settings_.topology;
    return asks ? topology.asked_node_of(key) : topology.node_of(key);
  }
  Node& node_at(std::size_t node) noexcept {
    if (node < nodes()) return *nodes_[node];
    try {
      make(node);
      return *nodes_[node];
    } catch (const std::bad_alloc&) {
      return *nodes_[0];
    }
  }
  void make(std::size_t last) {
    const MutexLock lock(mutex_);
    for (std::size_t i = nodes(); i <= last; ++i) {
      auto node = std::make_unique<Node>(Node{settings_});
      if (are_of_cluster()) node->settings.topology = settings_.topology->node(i);
      for (std::size_t j = 0; j < 2 * settings_.options.connections; ++j) {
        node->connections.push_back(std::make_unique<SharedConnection>(node->settings, sink_));
      }
      nodes_[i] = std::move(node);
      count_.store(i + 1, std::memory_order_release);
    }
  }

  const Settings& settings_;
  CompletionSink& sink_;
  Mutex mutex_{};                             // for making nodes
  std::vector<std::unique_ptr<Node>> nodes_;  // of them, the first `count_` are there
  std::atomic<std::size_t> count_ = 0;
};

}  // namespace redlatch::detail
