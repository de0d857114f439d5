#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include <redlatch/acquiring_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

namespace protocol {
class Recursive;
}
extern template class REDLATCH_API AcquiringLock<protocol::Recursive, Client, std::string>;

/// A lock that its owner may hold several times at once, as `std::recursive_mutex`: by several
/// objects, each of which holds once.
///
///     redlatch::RecursiveLock outer(client, "report");
///     redlatch::RecursiveLock inner(client, "report");  // the same thread: is held at once
///
/// The owner is the thread that acquires, or who is named: `Owner{"worker-7"}`, in any thread,
/// process and host. Others get the lock when the last hold was released, in the order of arrival;
/// an owner who holds it already overtakes them. Each hold has a lease of its own, which only its
/// object renews: a hold whose process was killed ends after its ttl, whatever the others do.
///
/// A client with `scripting` off is `Errc::unsupported`. At the server the key is a sorted set of
/// the holds, by when their leases end. A key that holds something else is `Errc::wrong_type`. A
/// waiter who was killed may hold up those behind it for its ttl or 3 s, whichever is shorter.
///
/// The constructors are documented in possession.hpp, with `key` or `key, owner` for what it is a
/// lock of, and everything else in basic_lock.hpp.
class RecursiveLock : public AcquiringLock<protocol::Recursive, Client, std::string> {
 public:
  using AcquiringLock::AcquiringLock;

  /// As those of all lock classes, with an owner that is named: waits until the lock is held. All
  /// four throw `Errc::invalid_argument` for a name that cannot work.
  RecursiveLock(Client& client, std::string key, const Owner& owner, LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    lock();
  }
  /// One attempt: ask `owns_lock()` how it went.
  RecursiveLock(Client& client, std::string key, const Owner& owner, std::try_to_lock_t,
                LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet and asks nobody.
  REDLATCH_API RecursiveLock(Client& client, std::string key, const Owner& owner, std::defer_lock_t,
                             LockOptions options = {});
  /// Waits for at most `wait`: ask `owns_lock()` how it went.
  template <class Rep, class Period>
  RecursiveLock(Client& client, std::string key, const Owner& owner,
                std::chrono::duration<Rep, Period> wait, LockOptions options = {})
      : RecursiveLock(client, std::move(key), owner, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }

  /// How many holds the owner has, those of other objects included. The owner is that of the hold
  /// of this object, or who would be if it acquired now. Asks the server; throws `Error` when that
  /// does not say.
  REDLATCH_API std::int64_t hold_count() const;
};

}  // namespace redlatch
