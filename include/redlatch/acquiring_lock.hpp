#pragma once

#include <chrono>
#include <mutex>
#include <utility>

#include <redlatch/basic_lock.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// The four ways to construct each of the lock classes. `Servers` is where it is, a `Client` or a
/// `Quorum`; `What` is what it is a lock of: a key, and for some of them more. All throw
/// `Errc::invalid_argument` when the key is empty or an option cannot work, `Errc::unsupported` for
/// what needs scripts where none may be sent, and what `lock()` throws. The library has an
/// instance for each of its classes.
template <class Protocol, class Servers, class... What>
class AcquiringLock : public BasicLock {
 public:
  /// Waits until the lock is held, as `lock()`.
  // NOLINTNEXTLINE(google-explicit-constructor): `what` is never nothing
  AcquiringLock(Servers& servers, What... what, LockOptions options = {})
      : AcquiringLock(servers, std::move(what)..., std::defer_lock, std::move(options)) {
    lock();
  }

  /// One attempt: ask `owns_lock()` how it went.
  AcquiringLock(Servers& servers, What... what, std::try_to_lock_t, LockOptions options = {})
      : AcquiringLock(servers, std::move(what)..., std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }

  /// Holds nothing yet and asks nobody.
  AcquiringLock(Servers& servers, What... what, std::defer_lock_t, LockOptions options = {});

  /// Waits for at most `wait`: ask `owns_lock()` how it went.
  template <class Rep, class Period>
  AcquiringLock(Servers& servers, What... what, std::chrono::duration<Rep, Period> wait,
                LockOptions options = {})
      : AcquiringLock(servers, std::move(what)..., std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }

 protected:
  using BasicLock::BasicLock;
};

}  // namespace redlatch
