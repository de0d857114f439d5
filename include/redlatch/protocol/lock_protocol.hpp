#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::protocol {

/// The members that the protocol of a lock class needs. `Exclusive` documents each; a new protocol
/// derives from it or from `Shared`, and writes only the members that differ.
///
/// Each command is for one server, and each reply is read without a look at an earlier one. What
/// the replies may be:
///
/// | command | reply | meaning |
/// | --- | --- | --- |
/// | `acquire`, `claim` | OK, a positive number | ours; with `fencing` the number is the token |
/// | | nil, 0 | held by another holder |
/// | | a negative number | the wait would never end: the thread waits for itself |
/// | `extend`, `release`, `release_after` | 1 | extended, released |
/// | | 0 | not ours: the lease is lost |
/// | `enqueue`, `refresh` | a number | `status` and `expiry` read it: see `QueueStatus` |
/// | `dequeue` | a number | ignored, also whether there was an entry |
/// | `holder`, `type` | see `holds`, `is_lock` | |
/// | `ask_ttl` | see `life_in` | only limits a pause |
/// | any | an error | `classify` has its meaning; `NOLOCK` and `LIMIT` are words of our scripts |
///
/// An error is never a no, except for a key of another type (`ours`). If a script may have acted
/// before its error (`leaves_script_in_doubt`), the command is in doubt: an acquisition is then
/// undone by `release`, a queue entry by `dequeue`.
template <class P>
concept LockProtocol = std::move_constructible<P> &&
    requires(const P& protocol, std::string_view value, std::chrono::milliseconds ttl,
             const QueueEntry& entry, std::int64_t expiry, const Reply& reply) {
  // What the class is.
  { P::is_passed_on } -> std::same_as<const bool&>;
  { P::joins_at_once } -> std::same_as<const bool&>;
  { P::needs_scripts } -> std::same_as<const bool&>;
  { P::checks_type } -> std::same_as<const bool&>;
  { P::has_queue } -> std::same_as<const bool&>;
  { P::has_min_hold } -> std::same_as<const bool&>;

  { protocol.key() } -> std::same_as<const std::string&>;
  { protocol.owner_tag() } -> std::convertible_to<std::string_view>;

  // The lease.
  { protocol.acquire(value, ttl) } -> std::same_as<Command>;
  { protocol.extend(value, ttl) } -> std::same_as<Command>;
  { protocol.release(value) } -> std::same_as<Command>;
  { protocol.holder(value) } -> std::same_as<Command>;
  { P::holds(reply, value) } -> std::same_as<bool>;

  // A wait.
  { protocol.enqueue(entry) } -> std::same_as<Command>;
  { protocol.refresh(entry, expiry) } -> std::same_as<Command>;
  { protocol.dequeue(entry, expiry) } -> std::same_as<Command>;
  { protocol.claim(value, ttl) } -> std::same_as<Command>;
  { protocol.ask_ttl() } -> std::same_as<Command>;
  { protocol.type() } -> std::same_as<Command>;
  { P::is_lock(reply) } -> std::same_as<bool>;
} &&(!P::has_min_hold ||
     requires(const P& protocol, std::string_view value, std::chrono::milliseconds rest) {
       { protocol.release_after(value, rest) } -> std::same_as<Command>;
     });

}  // namespace redlatch::protocol
