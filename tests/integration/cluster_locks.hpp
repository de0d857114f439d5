#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "certificates.hpp"
#include "cluster.hpp"
#include "fixture.hpp"

namespace redlatch::test {

/// Nodes that do not take each other for down.
inline constexpr std::chrono::milliseconds calm = 20s;

/// Three primaries without replicas.
inline ClusterOptions primaries_only() { return {.replicas = 0, .node_timeout = calm}; }

inline ClientOptions trusting(ClientOptions options = patient()) {
  options.tls.ca_file = own_certificates().issuer;
  return options;
}

/// Of a key with a hash tag.
inline std::string queue_of(const std::string& key) { return key + ":redlatch:queue"; }

/// A key of each of the three primaries that a Cluster begins with.
inline std::array<std::string, 3> a_key_of_each() {
  return {Cluster::key_in(100), Cluster::key_in(8'000), Cluster::key_in(16'000)};
}

/// Locks of all classes, whose keys share a slot.
struct LocksOfOneSlot {
  LocksOfOneSlot(Client& client, const std::string& tag, const LockOptions& options)
      : lock(client, tag + "lock", options),
        fair(client, tag + "fair", options),
        read(client, tag + "read", options),
        write(client, tag + "write", options),
        recursive(client, tag + "recursive", options),
        multi(client, {tag + "first", tag + "second"}, options),
        permit(client, tag + "permit", 3, options),
        fenced(client, tag + "fenced", with_fencing(options)) {}

  static LockOptions with_fencing(LockOptions options) {
    options.fencing = true;
    return options;
  }
  template <class Action>
  void for_each(Action action) {
    action(lock);
    action(fair);
    action(read);
    action(write);
    action(recursive);
    action(multi);
    action(permit);
    action(fenced);
  }
  bool are_owned() const {
    return owns_all(lock, fair, read, write, recursive, multi, permit, fenced);
  }
  static constexpr std::uint64_t size = 8;

  Lock lock;
  FairLock fair;
  ReadLock read;
  WriteLock write;
  RecursiveLock recursive;
  MultiLock multi;
  Permit permit;
  Lock fenced;
};

}  // namespace redlatch::test
