#pragma once

#include <string>

#include <redlatch/client.hpp>
#include <redlatch/possession.hpp>
#include <redlatch/protocol/fair.hpp>

namespace redlatch {

/// A `Lock` that is granted strictly in the order of arrival at the server, to threads and
/// processes alike.
///
///     redlatch::FairLock lock(client, "tickets", {.ttl = 30s});
///
/// Whoever may wait asks for a place in the queue of the key first, and nobody is served before
/// those who came before, not even when a lease expires. A single attempt (`try_lock`) gives way to
/// all who wait. It is the same key as that of a `Lock`, and excludes it; a `Lock` on it may still
/// get in before those who wait at the moment when a lease expires.
///
/// Who times out, is cancelled or is killed delays nobody. Who is stopped, or has lost its network,
/// is passed over once nothing has been heard of it for its ttl or 3 s, whichever is shorter; if
/// the lock was granted to it before that, its ttl goes by. Each counts by itself, however many
/// there are.
///
/// Needs scripts and channels: throws `Errc::unsupported` with `ClientOptions::scripting` off, and
/// `Errc::not_permitted` from a wait where the server's ACL forbids what the queue needs, since
/// nothing else would be fair. The README lists the rights.
///
/// The constructors are documented in possession.hpp, and everything else in basic_lock.hpp.
class FairLock : public Possession<protocol::Fair, Client, std::string> {
 public:
  using Possession::Possession;
};

}  // namespace redlatch
