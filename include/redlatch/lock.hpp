#pragma once

#include <string>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace protocol {
class Exclusive;
}
extern template class REDLATCH_API AcquiringLock<protocol::Exclusive, Client, std::string>;

/// Possession of one name, as `std::unique_lock` is possession of one mutex: at most one process,
/// thread or host holds `key` at a time, until its lease ends.
///
///     redlatch::Client client("redis://127.0.0.1:6379");
///     redlatch::Lock lock(client, "job:42", {.ttl = 30s});  // released at the end of the scope
///
/// At the server it is one string, named exactly `key`, that contains a random token and expires
/// after the ttl (`SET key token NX PX ttl`). So it excludes, and is excluded by, every other
/// library that uses this convention on the same key. It meets *TimedLockable*, so `std::lock`,
/// `std::scoped_lock` and `std::condition_variable_any` work with it.
///
/// Waiters queue up, inside the process and at the server, and are notified when it is their turn.
/// While the queue at the server is not empty, waiters of other libraries may starve.
///
/// Thread-safety: use an object from one thread at a time; any thread may unlock it. The
/// constructors are documented in acquiring_lock.hpp, all other members in basic_lock.hpp.
class Lock : public AcquiringLock<protocol::Exclusive, Client, std::string> {
 public:
  using AcquiringLock::AcquiringLock;
};

}  // namespace redlatch
