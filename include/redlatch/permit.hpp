#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include <redlatch/checked_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// One of at most `limit` permits of a key, as of a `std::counting_semaphore` that hosts share.
///
///     redlatch::Permit permit(client, "render-farm", 3, {.ttl = 30s});
///
/// Each permit has a lease of its own: the permit of a holder that died becomes free when its lease
/// ends, by the server's clock. Waiters are served in the order of arrival, and no attempt
/// overtakes them. A waiter that was killed may delay the waiters behind it for its ttl or 3 s,
/// whichever is shorter.
///
/// All users of a key have to name the same limit. The constructor throws `Errc::invalid_argument`
/// for a limit that is not from 1 to 1,000,000, and an acquisition for one that differs from that
/// of the present holders. To change the limit, release all permits first, or use another key. The
/// holders have no single order that a fencing token could express: `fencing` is
/// `Errc::unsupported`, and so is a client whose `ClientOptions::scripting` is off.
///
/// At the server the key is a sorted set of the holders, by the ends of their leases. A key of
/// another type is `Errc::wrong_type`.
///
/// The members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] Permit : public CheckedLock<Client, std::string, std::int64_t> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] Permit(Client& client, std::string key, std::int64_t limit,
                       LockOptions options = {})
      : Permit(client, std::move(key), limit, std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] Permit(Client& client, std::string key, std::int64_t limit, std::try_to_lock_t,
                       LockOptions options = {})
      : Permit(client, std::move(key), limit, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API Permit(Client& client, std::string key, std::int64_t limit,
                                    std::defer_lock_t, LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] Permit(Client& client, std::string key, std::int64_t limit,
                       std::chrono::duration<Rep, Period> wait, LockOptions options = {})
      : Permit(client, std::move(key), limit, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] Permit(Client& client, std::string key, std::int64_t limit, std::stop_token stop,
                       LockOptions options = {})
      : Permit(client, std::move(key), limit, std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] Permit(Client& client, std::string key, std::int64_t limit,
                       std::chrono::duration<Rep, Period> wait, std::stop_token stop,
                       LockOptions options = {})
      : Permit(client, std::move(key), limit, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }
};

}  // namespace redlatch
