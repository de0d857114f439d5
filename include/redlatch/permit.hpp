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

/// One of at most `limit` permits that a key has at a time, as of a `std::counting_semaphore` that
/// hosts share.
///
///     redlatch::Permit permit(client, "render-farm", 3, {.ttl = 30s});
///
/// Each permit has a lease of its own, so that the one of a holder who died comes back when that is
/// over, by the server's clock. Those who wait are served in the order of arrival, and nobody
/// overtakes them. A waiter who was killed may hold up those behind it for its ttl or 3 s,
/// whichever is shorter.
///
/// All who use the key have to name the same limit, from 1 to 1,000,000, else
/// `Errc::invalid_argument`: from the constructor for one that cannot work, and from the
/// acquisition for one that is not that of the present holders. To change it, let all of them go,
/// or use another key. There is no single order of the holders that could be numbered: `fencing` is
/// `Errc::unsupported`. So is a client with `scripting` off.
///
/// At the server the key is a sorted set of the holders, by when their leases end. A key that holds
/// something else is `Errc::wrong_type`.
///
/// The constructors are documented in possession.hpp, with `key, limit` for what it is a lock of,
/// and everything else in basic_lock.hpp.
class Permit : public AcquiringLock<protocol::Permit, Client, std::string, std::int64_t> {
 public:
  using AcquiringLock::AcquiringLock;
};

}  // namespace redlatch
