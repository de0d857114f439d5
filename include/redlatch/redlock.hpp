#pragma once

#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/checked_lock.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>
#include <redlatch/quorum.hpp>

namespace redlatch {

/// A lock that a majority of independent servers grants, so that it survives the loss of the
/// others: the Redlock algorithm.
///
///     redlatch::Quorum nodes{"redis://a", "redis://b", "redis://c"};
///     redlatch::Redlock lock(nodes, "job:42", {.ttl = 30s});
///
/// All servers are asked at once, and the lock is held as soon as n/2 + 1 of them have granted it
/// with validity left, counted from before the first request was sent. Extensions, renewals and
/// `verify()` need a majority, too; `Errc::no_quorum` if too few servers answer. If so many refuse
/// for another reason than a transient one, such as a wrong password, that the others are no
/// majority, it is the error of the first of these, and no wait rides it out. An attempt without a
/// majority is undone at all servers, also at those that answer later. Waiters try again after
/// full-jitter pauses of 1 to 100 ms: there is no queue. The release at the end of a scope does not
/// wait for the servers: the event is `released` if the lock was valid.
///
/// **What it does not give.** Martin Kleppmann ("How to do distributed locking", 2016) objects that
/// it relies on time: a holder that is suspended, a request that is delayed, or a server whose
/// clock jumps can lead to two holders, and there is no fencing token by which the resource could
/// refuse the late one. Salvatore Sanfilippo ("Is Redlock safe?", 2016) answers that clocks need
/// only run at about the same speed, and that the time is checked again once the majority is
/// reached. Both agree on this: the lock is only as good as the clocks. `owns_lock()` covers a
/// suspended holder that calls it. It cannot cover a delayed write, and `fencing` is
/// `Errc::unsupported`, since no server sees all acquisitions: where two holders would do harm,
/// have the resource compare something of its own (a version, the row that was read), or use a
/// `Lock` with `fencing` on one server. A server that restarts without its data within the ttl
/// breaks exclusion: see `QuorumOptions::min_uptime`.
///
/// `durability` is `Errc::unsupported`, as it is a property of each server. Needs scripts. A
/// renewal does not restore the lock at a server that has forgotten it: the lock is lost once a
/// majority has forgotten it. For locks that are held for long, restart the servers one at a time,
/// further apart than the locks are held, or acquire the lock anew in between.
///
/// The members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] Redlock : public CheckedLock<Quorum, std::string> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] Redlock(Quorum& nodes, std::string key, LockOptions options = {})
      : Redlock(nodes, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] Redlock(Quorum& nodes, std::string key, std::try_to_lock_t,
                        LockOptions options = {})
      : Redlock(nodes, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API Redlock(Quorum& nodes, std::string key, std::defer_lock_t,
                                     LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] Redlock(Quorum& nodes, std::string key, std::chrono::duration<Rep, Period> wait,
                        LockOptions options = {})
      : Redlock(nodes, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] Redlock(Quorum& nodes, std::string key, std::stop_token stop,
                        LockOptions options = {})
      : Redlock(nodes, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] Redlock(Quorum& nodes, std::string key, std::chrono::duration<Rep, Period> wait,
                        std::stop_token stop, LockOptions options = {})
      : Redlock(nodes, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }
};

}  // namespace redlatch
