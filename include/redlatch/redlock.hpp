#pragma once

#include <string>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/quorum.hpp>

namespace redlatch {

namespace protocol {
class Majority;
}
extern template class REDLATCH_API AcquiringLock<protocol::Majority, Quorum, std::string>;

/// A lock that a majority of independent servers grants, so that it outlives the loss of the
/// others: the Redlock algorithm.
///
///     redlatch::Quorum nodes{"redis://a", "redis://b", "redis://c"};
///     redlatch::Redlock lock(nodes, "job:42", {.ttl = 30s});
///
/// All servers are asked at once, and it is held as soon as n/2 + 1 of them have agreed with
/// validity left, counted from before the first of them was asked. Extensions, renewals and
/// `verify()` need a majority, too; `Errc::no_quorum` where too few servers answer. An attempt that
/// does not get one is taken back on all servers, also on those that answer later. Those who wait
/// try again after full-jitter pauses of 1 to 100 ms: there is no queue. What the servers say to
/// the release at the end of a scope is not waited for: it is told as `released` when the lock was
/// valid then.
///
/// **What it does not give.** Martin Kleppmann ("How to do distributed locking", 2016) holds
/// against it that it relies on time: a holder that is suspended, a request that is delayed, or a
/// server whose clock jumps can make two holders of one, and that it has no fencing token to have
/// the resource refuse the late one. Salvatore Sanfilippo ("Is Redlock safe?", 2016) answers that
/// clocks need only run at about the same speed, and that the time is looked at again once the
/// majority is there. Both are right about this: the lock counts for as long as clocks can be
/// trusted, and not longer. `owns_lock()` covers the suspended holder that looks. A delayed write
/// it cannot cover, and `fencing` is `Errc::unsupported`, since no server sees all acquisitions:
/// where two holders would do harm, have the resource compare something of its own (a version, the
/// row that was read), or use a `Lock` with `fencing` on one server. A server that restarts without
/// its data within the ttl breaks exclusion: see `QuorumOptions::min_uptime`.
///
/// `durability` is `Errc::unsupported`: that is each server's own business. Needs scripts. A server
/// that has forgotten the lock does not get it back by a renewal: it is lost once a majority has
/// forgotten it, and whoever holds one for long gives servers time between their restarts, or takes
/// it anew. The constructors are documented in possession.hpp, and everything else in
/// basic_lock.hpp.
class Redlock : public AcquiringLock<protocol::Majority, Quorum, std::string> {
 public:
  using AcquiringLock::AcquiringLock;
};

}  // namespace redlatch
