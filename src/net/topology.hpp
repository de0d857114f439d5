#pragma once

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>

#include "base/io_error.hpp"
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

/// No attempt has failed: the nodes of the cluster, or the one of a key, are known only now, and
/// the key is at another node than before.
class NodesLearned : public IoError {
 public:
  NodesLearned() : IoError(Errc::unreachable, "the nodes of the cluster are known only now") {}
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

  /// Where to connect to now. Throws `IoError` when that cannot be found out until `deadline`,
  /// `NodesLearned` where it stands for the nodes of a cluster that are not known yet, or
  /// `Cancelled` when `cancel` gets readable; -1: never.
  virtual Destination locate(TimePoint deadline, int cancel) = 0;

  /// The server has answered at this address: the first in order from now on.
  virtual void prefer(const SocketAddress& address) noexcept = 0;
  /// The server at this address answers, but is of no use: the last in order until it is preferred
  /// again, behind others that were avoided before.
  virtual void avoid(const SocketAddress& address) noexcept = 0;

  /// Whether the last answer of the server is too new for another one to have replaced it since.
  /// Otherwise what it sends is not believed before `confirm`. Always true where the topology hears
  /// of a new server in another way.
  bool is_trusted(TimePoint now) const noexcept {
    return now < trusted_until_.load() || now < heard_until_.load();
  }
  /// The server of this version, which was trusted or confirmed, has answered what was sent then.
  void note_answer(TimePoint sent, std::uint64_t version) noexcept {
    const TimePoint until = sent + trust_.load();
    // All threads read what is written here, so not at each answer.
    if (until - std::max(trusted_until_.load(), heard_until_.load()) < min_step) return;
    trusted_until_ = until;
    if (version_ != version) end_trust();  // it has changed meanwhile
  }
  /// Finds out whether another server has replaced this one, from which something came at `since`;
  /// if so, `version` grows. Throws `IoError` if no node can say that until `deadline`, or
  /// `Cancelled` when `cancel` gets readable; -1: never.
  virtual void confirm(TimePoint /*since*/, TimePoint /*deadline*/, int /*cancel*/) {}
  /// The same without a wait, for threads that have others to serve: false while it is not known
  /// yet, and is asked for. Throws `IoError` if no node could say it in all of the time that nodes
  /// have for that.
  virtual bool is_confirmed(TimePoint /*since*/) { return true; }

  /// Grows when the server is known to be another one. A connection of an older version leads to a
  /// former primary, which may not know that yet and still grant locks: nothing more is sent there,
  /// and no answer from there is believed.
  std::uint64_t version() const noexcept { return version_; }

  /// The number of the node that has the key; 0 where there is one server.
  virtual std::size_t node_of(std::string_view /*key*/) const noexcept { return 0; }
  /// The number of the node to which the key is being moved, and which takes commands about it
  /// behind ASKING; that which has the key, if none is known.
  virtual std::size_t asked_node_of(std::string_view key) const noexcept { return node_of(key); }
  /// The number that all keys have while the nodes of a cluster are not known yet.
  static constexpr std::size_t unknown_node = 0;
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
  /// From now on the server is trusted behind answers only, for so long behind each.
  void trust_for(TimePoint::duration time) noexcept { trust_ = time; }
  void end_trust() noexcept { trusted_until_ = TimePoint{}; }
  /// Until then, the topology hears of a new server in another way; less than before: it has
  /// stopped to.
  void trust_until(TimePoint time) noexcept {
    if (heard_until_.exchange(time) > time) end_trust();
  }

 private:
  static constexpr std::chrono::milliseconds min_step{1};

  std::atomic<std::uint64_t> version_ = 0;
  std::atomic<TimePoint> trusted_until_ = TimePoint::max();
  std::atomic<TimePoint> heard_until_{};
  std::atomic<TimePoint::duration> trust_{};
};

}  // namespace redlatch::detail
