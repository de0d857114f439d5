#pragma once

#include <type_traits>

#include <redlatch/basic_lock.hpp>
#include <redlatch/options.hpp>

namespace redlatch {

namespace detail {

/// An argument of any type, for calls that have to be refused. clang 14 does not compile calls for
/// which it has to consider `std::any` here.
struct AnyType {
  AnyType() = default;
  template <class T>
  // NOLINTNEXTLINE(google-explicit-constructor): whatever the argument is, it is converted
  AnyType(const T&);
};

/// The members of `LockOptions`, in their order, of any type: for calls that have to be refused.
struct MistypedOptions {
  AnyType ttl{};
  AnyType auto_renew{};
  AnyType max_hold{};
  AnyType fencing{};
  AnyType label{};
  AnyType min_hold{};
  AnyType ride_out{};
  Durability durability{};
};

}  // namespace detail

/// The base of all lock classes, with what the compiler refuses by one sentence instead of a list
/// of all constructors. `Servers` is a `Client` or a `Quorum`, and `What` the key, for some classes
/// with further arguments. Each of these constructors is a worse match than those of the lock
/// class, as its first parameter is const, so that it is chosen only if none of them fits.
template <class Servers, class... What>
class CheckedLock : public BasicLock {
 public:
  // Compilers show the line with the name of the constructor that they refuse, so the reason is on
  // that line. clang-format off
  /// Not without a key.
  explicit CheckedLock  // The key is missing: (client, key).
      (const Servers&) = delete;
  /// Not with another type in the place of the key.
  template <class Other, class Key>
  requires(sizeof...(What) > 1 || (!std::is_convertible_v<const Key&, What> || ...))
      CheckedLock  // Behind the client: a key; of a MultiLock {key, key}; of a Permit key, limit.
      (const Other&, const Key&)
  = delete;
  /// Not with other servers.
  template <class Other>
  CheckedLock  // The first argument is a Client, of a Redlock a Quorum: no const and no temporary.
      (const Other&, What...) = delete;
  /// Not with another type in the place of the wait, the stop token or the options.
  template <class Other>
  CheckedLock  // Here is a wait (5s, stop_token, try_to_lock, defer_lock), or LockOptions, last.
      (const Other&, What..., detail::AnyType, detail::AnyType = {}) = delete;
  /// Not with options of another type or in front of the wait.
  template <class Other>
  CheckedLock  // The options come last; times have a unit, and are whole ms: (..., {.ttl = 500ms}).
      (const Other&, What..., detail::MistypedOptions, detail::AnyType = {}) = delete;
  /// Not with options of another type behind the wait.
  template <class Other>
  CheckedLock  // The wait or an option has another type. Times have a unit, and options whole ms.
      (const Other&, What..., detail::AnyType, detail::MistypedOptions) = delete;
  // clang-format on

 protected:
  using BasicLock::BasicLock;
};

}  // namespace redlatch
