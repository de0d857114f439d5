#pragma once

#include <cstdint>
#include <string>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace protocol {
class Permit;
}
extern template class REDLATCH_API
    AcquiringLock<protocol::Permit, Client, std::string, std::int64_t>;

/// One of at most `limit` permits of a key, as of a `std::counting_semaphore` that hosts share.
///
///     redlatch::Permit permit(client, "render-farm", 3, {.ttl = 30s});
///
/// Each permit has a lease of its own: the permit of a holder that died becomes free when its lease
/// ends, by the server's clock. Waiters are served in the order of arrival, and no attempt
/// overtakes them. A waiter that was killed may delay the waiters behind it for its ttl or 3 s,
/// whichever is shorter.
///
/// All users of a key have to name the same limit. The constructor throws `Errc::invalid_argument`
/// for a limit that is not from 1 to 1,000,000, and an acquisition for one that differs from that
/// of the present holders. To change the limit, release all permits first, or use another key. The
/// holders have no single order that a fencing token could express: `fencing` is
/// `Errc::unsupported`, and so is a client whose `ClientOptions::scripting` is off.
///
/// At the server the key is a sorted set of the holders, by the ends of their leases. A key of
/// another type is `Errc::wrong_type`.
///
/// The constructors are documented in acquiring_lock.hpp, with `key, limit` as `what`, and all
/// other members in basic_lock.hpp.
class Permit : public AcquiringLock<protocol::Permit, Client, std::string, std::int64_t> {
 public:
  using AcquiringLock::AcquiringLock;
};

}  // namespace redlatch
