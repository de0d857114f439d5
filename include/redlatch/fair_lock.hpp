#pragma once

#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/checked_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// A `Lock` that is granted in the order of arrival at the server: no `FairLock` on a key overtakes
/// another, in any thread or process.
///
///     redlatch::FairLock lock(client, "tickets", {.ttl = 30s});
///
/// A call that may wait enters the queue of the key first, and the server grants the lock in the
/// order of the queue, also when a lease expires. A single attempt (`try_lock`) fails while others
/// wait, and so does one of a `MultiLock` that includes the key. A `FairLock` uses the same key as
/// a `Lock`, and they exclude each other. Plain `Lock`s may overtake waiting `FairLock`s: at the
/// moment when a lease expires, and by handing a lease over between threads of one client, up to 16
/// times in a row, or for 10 ms. Where the order matters, use `FairLock`s only.
///
/// A waiter that times out, is cancelled or is killed does not delay the others. A waiter that is
/// stopped or has lost its network is passed over once its entry was not refreshed for its ttl or
/// 3 s, whichever is shorter; if it was granted the lock before that, its ttl has to pass. This
/// holds for each such waiter by itself, however many there are.
///
/// Needs scripts and channels. Throws `Errc::unsupported` if `ClientOptions::scripting` is off. A
/// wait throws `Errc::not_permitted` if the server's ACL forbids what the queue needs, as nothing
/// else would be fair. docs/permissions.md lists the rights.
///
/// The members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] FairLock : public CheckedLock<Client, std::string> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] FairLock(Client& client, std::string key, LockOptions options = {})
      : FairLock(client, std::move(key), std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] FairLock(Client& client, std::string key, std::try_to_lock_t,
                         LockOptions options = {})
      : FairLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API FairLock(Client& client, std::string key, std::defer_lock_t,
                                      LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] FairLock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                         LockOptions options = {})
      : FairLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] FairLock(Client& client, std::string key, std::stop_token stop,
                         LockOptions options = {})
      : FairLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] FairLock(Client& client, std::string key, std::chrono::duration<Rep, Period> wait,
                         std::stop_token stop, LockOptions options = {})
      : FairLock(client, std::move(key), std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }
};

}  // namespace redlatch
