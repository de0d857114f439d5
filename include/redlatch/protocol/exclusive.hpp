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

// KEYS[1] the lock, ARGV[1] the token, ARGV[2] the ttl in milliseconds. 1: extended; 0: not ours.
// An absent key is written to as well, for the same reason as by a release.
extern const Sha1 extend_hash;
inline constexpr Script extend_script{.text = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or not holder then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0)",
                                      .hash = &extend_hash,
                                      .effect = Script::Effect::expire};

/// One holder of one key: a string that holds the holder's value, which begins with its token, and
/// expires by itself. Those who wait for it queue up beside it. With `fencing` there is a counter,
/// too, from which every acquisition draws a larger number.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "single instance".
class Exclusive {
 public:
  /// Those of one client who wait queue up inside the process and pass a lease on to each other.
  static constexpr bool is_passed_on = true;
  /// Who may wait asks for a place in the queue before anything else.
  static constexpr bool joins_at_once = false;
  static constexpr bool needs_scripts = false;
  /// A failed attempt says when the key holds something else than a lock of this kind.
  static constexpr bool says_kind = false;
  /// There is a queue at the server.
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

  /// Asks for a place in the queue; `status` reads the answer.
  Command enqueue(const QueueEntry& entry) const {
    return protocol::enqueue(stand_script, key_, entry);
  }
  /// Says that the one it has still counts; answered as `enqueue`.
  Command refresh(const QueueEntry& entry, std::int64_t expiry) const {
    return protocol::refresh(stand_script, key_, entry, expiry);
  }
  /// Gives the place up, and the lock if it was granted meanwhile.
  Command dequeue(const QueueEntry& entry, std::int64_t expiry) const {
    return protocol::dequeue(leave_script, key_, entry, expiry);
  }
  /// Makes a lock that was granted as good as one that was acquired; answered as `acquire`.
  Command claim(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing_) return extend(value, ttl);
    return Command(claim_fenced_script, key_, value, ttl, counter_life(ttl));
  }

  /// What the values of these locks begin with, before their token.
  static std::string_view owner_tag() noexcept { return {}; }

  /// Asks whether the value holds the key; `holds` reads the answer. That has at most one byte
  /// more than the value, however much another program has put there.
  Command holder(std::string_view value) const {
    return Command(Expect::text_or_nil, "GETRANGE", key_, std::int64_t{0},
                   static_cast<std::int64_t>(value.size()));
  }
  static bool holds(const Reply& holder, std::string_view value) noexcept {
    return holder.kind == Reply::Kind::string && holder.text == value;
  }

  /// Asks how long the holder's lease may last; `remaining` reads the answer.
  Command ask_ttl() const { return Command(Expect::integer, "PTTL", key_); }

  /// Asks what kind of value stands in the way; `is_lock` reads the answer.
  Command kind() const { return Command(Expect::status, "TYPE", key_); }
  static bool is_lock(const Reply& kind) noexcept {
    return kind.kind != Reply::Kind::status || kind.text == "string" || kind.text == "none";
  }

 private:
  std::string key_;
  bool fencing_;
};

}  // namespace redlatch::protocol
