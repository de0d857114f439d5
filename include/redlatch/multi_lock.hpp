#pragma once

#include <chrono>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <redlatch/checked_lock.hpp>
#include <redlatch/client.hpp>
#include <redlatch/detail/export.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

/// The locks of several keys, all of them or none.
///
///     redlatch::MultiLock accounts(client, {"account:7", "account:12"});
///
/// The server acquires all keys in one step, or none if one of them is held. So no process holds
/// one of them while it waits for another, and two that want the same keys in different order
/// cannot deadlock. The keys are those of `Lock` and `FairLock`: either excludes a `MultiLock` that
/// includes its key, and the other way round.
///
/// Extensions and renewals are one step, too, and the lock is lost when one of its keys is. The
/// remaining keys are kept then until the lock is released, acquired anew or expires, since its
/// owner may still be at work. With `fencing`, the token is larger than all that were drawn for any
/// of the keys before.
///
/// There is no queue for several keys, and an attempt gives precedence to the waiters in the queue
/// of each key: when the last holder's lease has expired, the first of these waiters gets the key.
/// Waiting `MultiLock`s try again after full-jitter pauses of 1 to 100 ms. Keys that waiting
/// `Lock`s take over from each other without a gap may keep them waiting for as long as that goes
/// on: use a bounded wait.
///
/// `key()` is the first of the keys. Events and errors name it, and its connection is used: the
/// release at the end of a scope is not waited for, and only later commands about the first key are
/// certain to arrive behind it. `unlock()` waits. Throws `Errc::invalid_argument` for no key, for
/// more than 256, for an empty key, for a key that is named twice, and for keys in different slots
/// of a cluster: give these a common hash tag, as `{account}:7` and `{account}:12`. Throws
/// `Errc::wrong_type` for a key that is not a lock, and `Errc::unsupported` if
/// `ClientOptions::scripting` is off.
///
/// The members that all lock classes share are documented in basic_lock.hpp.
class [[nodiscard]] MultiLock : public CheckedLock<Client, std::vector<std::string>> {
 public:
  using CheckedLock::CheckedLock;

  /// Waits without bound. All constructors are as those of `Lock`.
  [[nodiscard]] MultiLock(Client& client, const std::vector<std::string>& keys,
                          LockOptions options = {})
      : MultiLock(client, keys, std::defer_lock, std::move(options)) {
    lock();
  }
  /// Makes one attempt.
  [[nodiscard]] MultiLock(Client& client, const std::vector<std::string>& keys, std::try_to_lock_t,
                          LockOptions options = {})
      : MultiLock(client, keys, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock());
  }
  /// Holds nothing yet, and sends nothing.
  [[nodiscard]] REDLATCH_API MultiLock(Client& client, const std::vector<std::string>& keys,
                                       std::defer_lock_t, LockOptions options = {});
  /// Waits for at most `wait`.
  template <class Rep, class Period>
  [[nodiscard]] MultiLock(Client& client, const std::vector<std::string>& keys,
                          std::chrono::duration<Rep, Period> wait, LockOptions options = {})
      : MultiLock(client, keys, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait));
  }
  /// Waits until a stop is requested.
  [[nodiscard]] MultiLock(Client& client, const std::vector<std::string>& keys,
                          std::stop_token stop, LockOptions options = {})
      : MultiLock(client, keys, std::defer_lock, std::move(options)) {
    static_cast<void>(lock(std::move(stop)));
  }
  /// Waits for at most `wait` or until a stop is requested.
  template <class Rep, class Period>
  [[nodiscard]] MultiLock(Client& client, const std::vector<std::string>& keys,
                          std::chrono::duration<Rep, Period> wait, std::stop_token stop,
                          LockOptions options = {})
      : MultiLock(client, keys, std::defer_lock, std::move(options)) {
    static_cast<void>(try_lock_for(wait, std::move(stop)));
  }
};

}  // namespace redlatch
