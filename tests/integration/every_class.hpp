#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {

/// A server, with a client and a quorum of it; by way of Sentinel or of a cluster, there is no
/// quorum.
class Servers {
 public:
  explicit Servers(const std::string& url, const ClientOptions& options = patient())
      : client(url, options) {
    if (url.find("-sentinel:") != std::string::npos || url.find("-cluster:") != std::string::npos) {
      return;
    }
    nodes_.emplace(std::vector<std::string>{url},
                   QuorumOptions{.client = options, .server_timeout = 20s});
  }

  Quorum& nodes() { return nodes_.value(); }
  std::size_t waiting() const {
    return client.metrics().waiting + (nodes_ ? nodes_->metrics().waiting : 0);
  }

  Client client;

 private:
  std::optional<Quorum> nodes_{};
};

/// A class, and how a lock on "job" is made, with further arguments. Of permits there is one.
template <class L>
struct OneKey {
  using Class = L;
  template <class... How>
  static L make(Servers& servers, How... how) {
    return L(servers.client, "job", std::move(how)...);
  }
};
struct Owned : OneKey<RecursiveLock> {
  template <class... How>
  static RecursiveLock make(Servers& servers, How... how) {
    return RecursiveLock(servers.client, "job", Owner{"somebody"}, std::move(how)...);
  }
};
struct Several : OneKey<MultiLock> {
  template <class... How>
  static MultiLock make(Servers& servers, How... how) {
    return MultiLock(servers.client, {"{job}mail", "job"}, std::move(how)...);
  }
};
struct OnePermit : OneKey<Permit> {
  template <class... How>
  static Permit make(Servers& servers, How... how) {
    return Permit(servers.client, "job", 1, std::move(how)...);
  }
};
struct OfAQuorum : OneKey<Redlock> {
  template <class... How>
  static Redlock make(Servers& servers, How... how) {
    return Redlock(servers.nodes(), "job", std::move(how)...);
  }
};
using EveryClass =
    testing::Types<OneKey<Lock>, OneKey<FairLock>, OneKey<ReadLock>, OneKey<WriteLock>,
                   OneKey<RecursiveLock>, Owned, Several, OnePermit, OfAQuorum>;

/// The number of the calling thread, as the operating system shows it.
inline std::string thread_number() { return std::to_string(::syscall(SYS_gettid)); }

}  // namespace redlatch::test
