#pragma once

#include <string>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace protocol {
class Fair;
}
extern template class REDLATCH_API AcquiringLock<protocol::Fair, Client, std::string>;

/// A `Lock` that is granted in the order of arrival at the server: no `FairLock` on a key overtakes
/// another one, whatever thread or process it is in.
///
///     redlatch::FairLock lock(client, "tickets", {.ttl = 30s});
///
/// Whoever may wait asks for a place in the queue of the key first, and nobody is served before
/// those who came before, not even when a lease expires. A single attempt (`try_lock`) gives way to
/// all who wait, and so does a `MultiLock` that wants the key. It is the same key as that of a
/// `Lock`, and excludes it. Plain `Lock`s on it keep to their own order, which may overtake those
/// who wait: a `Lock` may get in at the moment when a lease expires, and threads of one client pass
/// its lease on to each other up to 16 times, or for 10 ms, before the next in the queue has its
/// turn. Where the order matters, use `FairLock`s only.
///
/// Who times out, is cancelled or is killed delays nobody. Who is stopped, or has lost its network,
/// is passed over once nothing has been heard of it for its ttl or 3 s, whichever is shorter; if
/// the lock was granted to it before that, its ttl goes by. Each counts by itself, however many
/// there are.
///
/// Needs scripts and channels: throws `Errc::unsupported` with `ClientOptions::scripting` off, and
/// `Errc::not_permitted` from a wait where the server's ACL forbids what the queue needs, since
/// nothing else would be fair. docs/permissions.md lists the rights.
///
/// The constructors are documented in possession.hpp, and everything else in basic_lock.hpp.
class FairLock : public AcquiringLock<protocol::Fair, Client, std::string> {
 public:
  using AcquiringLock::AcquiringLock;
};

}  // namespace redlatch
