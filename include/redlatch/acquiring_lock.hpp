#pragma once

#include <chrono>
#include <mutex>
#include <utility>

#include <redlatch/basic_lock.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// The four ways to construct each of the lock classes. `Servers` is a `Client` or a `Quorum`, and
/// `What` the key, for some classes with further arguments. All four throw
/// `Errc::invalid_argument` for an empty key or an option that cannot work, and `Errc::unsupported`
/// for a lock that needs scripts where none may be sent. Those that acquire throw what `lock()`
/// throws, too. The library has an instance for each of its classes.
template <class Protocol, class Servers, class... What>
class AcquiringLock : public BasicLock {
 public:
  /// Acquires the lock as `lock()` does: waits without bound.
  // NOLINTNEXTLINE(google-explicit-constructor): `what` is never empty
  AcquiringLock(Servers& servers, What... what, LockOptions options = {})
      : AcquiringLock(servers, std::move(what)..., std::defer_lock, std::move(options)) {
    lock();
  }

  /// Makes one attempt, as `try_lock()` does; `owns_lock()` has the outcome.
  AcquiringLock(Servers& servers, What... what, std::try_to_lock_t, LockOptions options = {})
      : AcquiringLock(servers, std::move(what)..., std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }

  /// Holds nothing yet, and sends nothing.
  AcquiringLock(Servers& servers, What... what, std::defer_lock_t, LockOptions options = {});

  /// Waits for at most `wait`, as `try_lock_for()` does; `owns_lock()` has the outcome.
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
