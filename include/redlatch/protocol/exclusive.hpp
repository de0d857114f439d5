#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/fencing.hpp>
#include <redlatch/protocol/queue.hpp>

namespace redlatch::protocol {

// KEYS[1] the lock, ARGV[1] the value, ARGV[2] the ttl in milliseconds. 1: extended; 0: not ours.
// An absent key is written to as well, which changes nothing: a replica refuses that, instead of
// answering 0 for what it does not know.
extern const Sha1 extend_hash;
inline constexpr Script extend_script{.text = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or not holder then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0)",
                                      .hash = &extend_hash,
                                      .effect = Script::Effect::expire};

/// A lock with one holder: a string with the holder's value, which begins with its token, and which
/// expires by itself. Waiters queue up in a second key. With `fencing` there is a third, a counter
/// from which every acquisition draws a larger number.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "single instance".
class Exclusive {
 public:
  /// Waiters of one client queue up inside the process, and a lease is handed over between them.
  static constexpr bool is_passed_on = true;
  /// A call that may wait enters the server's queue without an attempt first.
  static constexpr bool joins_at_once = false;
  /// There is no form of its commands without scripts.
  static constexpr bool needs_scripts = false;
  /// A failed attempt has an error reply if the key is not a lock of this class.
  static constexpr bool says_kind = false;
  /// There is a queue at the server for waiters.
  static constexpr bool has_queue = true;

  explicit Exclusive(std::string key, bool fencing = false)
      : key_(std::move(key)), fencing_(fencing) {}

  const std::string& key() const noexcept { return key_; }
  bool fencing() const noexcept { return fencing_; }

  Command acquire(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing_) return Command(Expect::ok_or_nil, "SET", key_, value, "NX", "PX", ttl);
    return Command(acquire_fenced_script, key_, value, ttl, counter_life(ttl));
  }
  Command release(std::string_view value) const { return Command(release_script, key_, value); }
  Command extend(std::string_view value, std::chrono::milliseconds ttl) const {
    return Command(extend_script, key_, value, ttl);
  }

  /// Adds an entry to the queue; `status` reads the reply.
  Command enqueue(const QueueEntry& entry) const {
    return protocol::enqueue(stand_script, key_, entry);
  }
  /// Keeps an entry from expiring; the reply is that of `enqueue`.
  Command refresh(const QueueEntry& entry, std::int64_t expiry) const {
    return protocol::refresh(stand_script, key_, entry, expiry);
  }
  /// Removes an entry, and releases the lock if it was granted meanwhile.
  Command dequeue(const QueueEntry& entry, std::int64_t expiry) const {
    return protocol::dequeue(leave_script, key_, entry, expiry);
  }
  /// Sets a granted lock to its full ttl, and draws its fencing token; the reply is that of
  /// `acquire`.
  Command claim(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing_) return extend(value, ttl);
    return Command(claim_fenced_script, key_, value, ttl, counter_life(ttl));
  }

  /// What the value of a lock begins with, in front of its token; empty for a lock with one holder.
  static std::string_view owner_tag() noexcept { return {}; }

  /// Asks whether the key holds the value; `holds` reads the reply. GETRANGE limits that to one
  /// byte more than the value, however much another program has stored there.
  Command holder(std::string_view value) const {
    return Command(Expect::text_or_nil, "GETRANGE", key_, std::int64_t{0},
                   static_cast<std::int64_t>(value.size()));
  }
  static bool holds(const Reply& holder, std::string_view value) noexcept {
    return holder.kind == Reply::Kind::string && holder.text == value;
  }

  /// Asks for the remaining ttl of the holder's lease; `life_in` reads the reply.
  Command ask_ttl() const { return Command(Expect::integer, "PTTL", key_); }

  /// Asks for the type of the key; `is_lock` reads the reply.
  Command kind() const { return Command(Expect::status, "TYPE", key_); }
  static bool is_lock(const Reply& kind) noexcept {
    return kind.kind != Reply::Kind::status || kind.text == "string" || kind.text == "none";
  }

 private:
  std::string key_;
  bool fencing_;
};

}  // namespace redlatch::protocol
