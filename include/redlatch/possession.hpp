#pragma once

#include <chrono>
#include <mutex>
#include <utility>

#include <redlatch/basic_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// The four ways to construct each of the lock classes. `What` is what it is a lock of: a key, and
/// for some of them more. All throw what `BasicLock`'s constructor and `lock()` throw.
template <class Protocol, class... What>
class Possession : public BasicLock<Protocol> {
 public:
  /// Waits until the lock is held, as `lock()`.
  Possession(Client& client, What... what, LockOptions options = {})
      : Possession(client, std::move(what)..., std::defer_lock, std::move(options)) {
    this->lock();
  }

  /// One attempt: ask `owns_lock()` how it went.
  Possession(Client& client, What... what, std::try_to_lock_t, LockOptions options = {})
      : Possession(client, std::move(what)..., std::defer_lock, std::move(options)) {
    static_cast<void>(this->try_lock());
  }

  /// Holds nothing yet and asks nobody.
  Possession(Client& client, What... what, std::defer_lock_t, LockOptions options = {})
      : BasicLock<Protocol>{client.executor(), Protocol(std::move(what)..., options.fencing),
                            std::move(options)} {}

  /// Waits for at most `wait`: ask `owns_lock()` how it went.
  template <class Rep, class Period>
  Possession(Client& client, What... what, std::chrono::duration<Rep, Period> wait,
             LockOptions options = {})
      : Possession(client, std::move(what)..., std::defer_lock, std::move(options)) {
    static_cast<void>(this->try_lock_for(wait));
  }

 protected:
  explicit Possession(BasicLock<Protocol>&& lock) noexcept : BasicLock<Protocol>(std::move(lock)) {}
};

}  // namespace redlatch
