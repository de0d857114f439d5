#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <redlatch/detail/clock.hpp>

#include "base/mutex.hpp"
#include "base/url.hpp"
#include "net/socket_address.hpp"
#include "net/topology.hpp"

namespace redlatch::detail {

template <class Result>
class DetachedCall;
struct FoundAddresses;

/// The addresses of one client's server: looks its host name up, and remembers which of the
/// addresses were of use. All threads that connect share it.
///
/// getaddrinfo(3) knows no deadline, so it runs on a thread of its own, which exists as long as the
/// look-up and is not waited for at the end of the client. One look-up at a time serves all
/// callers. Hosts that are addresses, and Unix sockets, need none.
class Resolver final : public Topology {
 public:
  explicit Resolver(const Endpoint& endpoint, std::shared_ptr<TlsContext> tls = {});

  /// The server's addresses, the most promising first; at least one. Looks the name up anew each
  /// time. Returns the addresses of the look-up before when this one fails, or takes longer than
  /// half a second or a quarter of the time until `deadline`. Throws `IoError`, or `Cancelled` when
  /// `cancel` gets readable.
  SocketAddresses addresses(TimePoint deadline, int cancel);

  Destination locate(TimePoint deadline, int cancel) override {
    return {.addresses = addresses(deadline, cancel), .tls = tls_};
  }
  void prefer(const SocketAddress& address) noexcept override;
  void avoid(const SocketAddress& address) noexcept override;

  // Around fork(2): the child keeps the addresses, and has no look-up under way.
  void before_fork() override REDLATCH_ACQUIRE(mutex_) { mutex_.lock(); }
  void after_fork_in_parent() override REDLATCH_RELEASE(mutex_) { mutex_.unlock(); }
  void after_fork_in_child() noexcept override REDLATCH_RELEASE(mutex_);

 private:
  using LookUp = DetachedCall<FoundAddresses>;

  struct Known {
    SocketAddress address;
    bool is_preferred = false;
    std::uint64_t avoided = 0;  // the number of the last time; 0: never since it was preferred
  };

  std::shared_ptr<LookUp> look_up() REDLATCH_REQUIRES(mutex_);
  void learn(const LookUp& finished) REDLATCH_REQUIRES(mutex_);
  SocketAddresses known() const REDLATCH_REQUIRES(mutex_);
  Known* find_known(const SocketAddress& address) noexcept REDLATCH_REQUIRES(mutex_);

  const std::string host_;
  const std::uint16_t port_;
  const std::shared_ptr<TlsContext> tls_;
  SocketAddresses fixed_{};  // of a host that is an address, or of a Unix socket

  Mutex mutex_{};  // the last to be taken: no other mutex is taken under it
  // Shared with its thread and with the callers that wait.
  std::shared_ptr<LookUp> under_way_ REDLATCH_GUARDED_BY(mutex_){};
  // What the last look-up that was answered has found.
  std::vector<Known> known_ REDLATCH_GUARDED_BY(mutex_){};
  std::uint64_t avoidances_ REDLATCH_GUARDED_BY(mutex_) = 0;
};

}  // namespace redlatch::detail
