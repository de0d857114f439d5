#pragma once

#include <poll.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
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

  /// Grows when the server is known to be another one. A connection of an older version leads to a
  /// former primary, which may not know that yet and still grant locks: nothing more is sent there,
  /// and no answer from there is believed.
  std::uint64_t version() const noexcept { return version_; }

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
