#pragma once

#include <string>
#include <vector>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>

namespace redlatch {

namespace protocol {
class Multi;
}
extern template class REDLATCH_API AcquiringLock<protocol::Multi, Client, std::vector<std::string>>;

/// The locks of several keys, all of them or none.
///
///     redlatch::MultiLock accounts(client, {"account:7", "account:12"});
///
/// They are acquired in one step at the server, which takes none when one is not free. So nobody
/// holds one of them while waiting for another, and two who want the same keys in another order
/// cannot block each other. They are the keys of `Lock` and `FairLock`: whoever holds one of them
/// keeps a `MultiLock` out, and the other way round.
///
/// Extensions and renewals are one step, too, and the lock is lost when one of its keys is. What is
/// left of it then is kept until it is released, acquired anew or expires, since its owner may
/// still be at work. With `fencing`, the token is larger than all that were drawn for any of the
/// keys before.
///
/// There is no queue for several keys, and an attempt gives way to the waiters in the queue of
/// one of them: when the lease of its last holder has expired, the first of these gets it. Those
/// who wait for several keys try again after full-jitter pauses of 1 to 100 ms, so keys that
/// waiting `Lock`s pass on to each other without a gap may keep them waiting for as long as that
/// goes on: bound the wait.
///
/// `key()` is the first of the keys, which events and errors name, and whose connection is used:
/// the release at the end of a scope is not waited for, and only what is asked about the first key
/// is sure to come behind it. `unlock()` waits. `Errc::invalid_argument` for no key, more than 256,
/// an empty one, and one that is named twice, and when a cluster has them in different slots: give
/// them a hash tag in common, as `{account}:7` and `{account}:12`. A key that holds something else
/// is `Errc::wrong_type`. A client with `scripting` off is `Errc::unsupported`.
///
/// The constructors are documented in possession.hpp, with the keys for what it is a lock of, and
/// everything else in basic_lock.hpp.
class MultiLock : public AcquiringLock<protocol::Multi, Client, std::vector<std::string>> {
 public:
  using AcquiringLock::AcquiringLock;
};

}  // namespace redlatch
