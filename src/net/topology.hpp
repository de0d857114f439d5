#pragma once

#include <poll.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>

#include "base/mutex.hpp"
#include "net/socket_address.hpp"

namespace redlatch::detail {

class TlsContext;

/// Where a new connection leads to.
struct Destination {
  SocketAddresses addresses{};        // the most promising first; at least one
  std::shared_ptr<TlsContext> tls{};  // with the name to check; null: without TLS
  std::uint64_t version = 0;          // of the topology that says so
  std::string description{};          // for messages; empty where the URL says the same
};

/// Where the server is that has the locks of a client: at the address or host name of its URL
/// (`Resolver`), or wherever Sentinel says that the primary is (`SentinelTopology`). Everything
/// that connects asks here first, each time. All threads of the client share it.
///
/// A cluster has several such servers, its nodes, each with some of the keys. `ClusterTopology`
/// says which, and each node has a topology of its own.
class Topology {
 public:
  Topology() = default;
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;
  virtual ~Topology() = default;

  /// Where to connect to now. Throws `IoError` when that cannot be found out until `deadline`, or
  /// `Cancelled` when `cancel` gets readable; -1: never.
  virtual Destination locate(TimePoint deadline, int cancel) = 0;

  /// The server has answered at this address: the first in order from now on.
  virtual void prefer(const SocketAddress& address) noexcept = 0;
  /// The server at this address answers, but is of no use: the last in order until it is preferred
  /// again, behind others that were avoided before.
  virtual void avoid(const SocketAddress& address) noexcept = 0;

  /// A server that was silent for so long may have been replaced meanwhile. A shorter silence makes
  /// no cluster replace a node: that takes `cluster-node-timeout`.
  static constexpr std::chrono::milliseconds long_silence{250};
  /// The server was silent for long, and has answered now: finds out, until `deadline`, whether
  /// another one has replaced it, and if so, lets `version` grow. For topologies that hear of it in
  /// another way, this does nothing.
  virtual void confirm(TimePoint /*deadline*/) noexcept {}

  /// Grows when the server is known to be another one. A connection of an older version leads to a
  /// former primary, which may not know that yet and still grant locks: nothing more is sent there,
  /// and no answer from there is believed.
  std::uint64_t version() const noexcept { return version_; }

  /// The number of the node that has the key; 0 where there is one server.
  virtual std::size_t node_of(std::string_view /*key*/) const noexcept { return 0; }
  /// The number of the node to which the key is being moved, and which takes commands about it
  /// behind ASKING; that which has the key, if none is known.
  virtual std::size_t asked_node_of(std::string_view key) const noexcept { return node_of(key); }
  /// More nodes than there ever are; 1: there is one server.
  virtual std::size_t max_nodes() const noexcept { return 1; }
  /// The topology of one node, if there are several; null where there is one server.
  virtual std::shared_ptr<Topology> node(std::size_t /*number*/) { return nullptr; }
  /// The node has answered that the key is at another one. Learns what follows from it, and has
  /// nothing wait.
  virtual void redirected(std::string_view /*error_reply*/) noexcept {}

  /// Whether a thread has to watch it from the first connection on.
  virtual bool wants_watch() const noexcept { return false; }
  /// For the background thread: adds the descriptors that show a change of the server, and returns
  /// the latest time at which `attend` is to be called.
  virtual TimePoint watch(std::vector<pollfd>& /*descriptors*/) { return TimePoint::max(); }
  /// Receives what has come, without waiting.
  virtual void attend() noexcept {}

  /// The client has ended, and nothing connects any more. From here on no thread of the topology
  /// uses TLS, whose library may be cleaned up when the process exits.
  virtual void end() noexcept {}

  // Around fork(2): the child keeps what is known, and nothing that is under way.
  virtual void before_fork() = 0;
  virtual void after_fork_in_parent() = 0;
  virtual void after_fork_in_child() noexcept = 0;

 protected:
  void note_change() noexcept { ++version_; }

 private:
  std::atomic<std::uint64_t> version_ = 0;
};

}  // namespace redlatch::detail
