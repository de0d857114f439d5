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

// KEYS[1] the lock, KEYS[2] the queue, ARGV[1] the value, ARGV[2] for how long the key stays, in
// milliseconds, ARGV[3] the value that it has then. 1: released, at that time; 0: it was not ours.
// XX: an absent key is written to as in `extend_script`, and stays absent. No grant will wake the
// first waiter, which may not know that it is the first. So it is notified, refreshes its entry,
// has the key tracked, and asks again when the key has expired. Entries of waiters that are gone
// are skipped, up to a number that a release can look at; then the timers of the waiters remain.
inline constexpr std::string_view leave_lock_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if not redis.call('SET', KEYS[1], ARGV[3], 'XX', 'PX', ARGV[2]) then return 0 end
)";
inline constexpr std::string_view notify_first_lua = R"(for index = 0, 15 do
  local _, _, channel, value = read_entry(redis.pcall('LINDEX', KEYS[2], index))
  if not channel then break end
  if is_heard(channel) then
    is_told(channel, value, '')
    break
  end
end
return 1)";
// The first waiter learns by its own refresh that the key has expired.
inline constexpr std::string_view return_one_lua = "return 1";
extern const Sha1 release_after_alone_hash;
inline constexpr Script release_after_alone_script{.text = joined<leave_lock_lua, return_one_lua>,
                                                   .hash = &release_after_alone_hash,
                                                   .effect = Script::Effect::replace};
extern const Sha1 release_after_hash;
inline constexpr Script release_after_script{
    .text = joined<entry_lua, leave_lock_lua, notify_first_lua>,
    .hash = &release_after_hash,
    .effect = Script::Effect::replace,
    .side_keys = {"queue"},
    .alone = &release_after_alone_script};

/// The value of a key whose lock was released before its `LockOptions::min_hold`: that of the lock
/// without the first group of its token. No command of the old lock that is carried out late, such
/// as a renewal or a cleanup release, matches it, and operators still find the label. A part of the
/// old value, so that a release needs no memory.
constexpr std::string_view released_value(std::string_view value) noexcept {
  return value.substr(value.find('-') + 1);
}

/// A lock with one holder: a string with the holder's value, which begins with its token, and which
/// expires by itself. Waiters queue up in a second key. With `fencing` there is a third, a counter
/// from which every acquisition draws a larger number.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "single instance".
///
/// Every protocol has these members: `LockProtocol` lists them, with what the replies mean.
/// `release_after` is needed with `has_min_hold` only. `turn_into` (of `WriteSide`) and `count` (of
/// `Recursive`) belong to one class each.
class Exclusive {
 public:
  /// Waiters of one client queue up inside the process, and a lease is handed over between them. At
  /// most one protocol may say so: a hand-over compares key and options, but not classes, and the
  /// value keeps its owner tag.
  static constexpr bool is_passed_on = true;
  /// A call that may wait enters the server's queue without an attempt first, and fails with
  /// `not_permitted` where it cannot queue up.
  static constexpr bool joins_at_once = false;
  /// There is no form of its commands without scripts.
  static constexpr bool needs_scripts = false;
  /// The acquisition itself has an error reply if the key is not a lock of this class, so that a
  /// failed attempt need not ask for the `type`. A wait asks for it all the same.
  static constexpr bool checks_type = false;
  /// There is a queue at the server for waiters.
  static constexpr bool has_queue = true;
  /// A release can leave the key for a time: `release_after`.
  static constexpr bool has_min_hold = true;

  explicit Exclusive(std::string key, bool fencing = false)
      : key_(std::move(key)), fencing_(fencing) {}

  const std::string& key() const noexcept { return key_; }
  bool fencing() const noexcept { return fencing_; }

  /// The reply: OK or a positive number is a yes, and with `fencing` the number is the fencing
  /// token; nil or 0: held elsewhere; a negative number: the thread would wait for itself.
  Command acquire(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing_) return Command(Expect::ok_or_nil, "SET", key_, value, "NX", "PX", ttl);
    return Command(acquire_fenced_script, key_, value, ttl, counter_life(ttl));
  }
  /// 1: released; 0: it was not ours. Also sent for an acquisition in doubt, so it must do nothing
  /// for a value that was never granted.
  Command release(std::string_view value) const { return Command(release_script, key_, value); }
  /// Leaves the key for `rest`, and grants it to no waiter.
  Command release_after(std::string_view value, std::chrono::milliseconds rest) const {
    return Command(release_after_script, key_, value, rest, released_value(value));
  }
  /// 1: extended; 0: it was not ours. Names all keys of the lock, the first one first.
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
  /// Has no spaces. Called for each new lease, by the thread that acquires it.
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

  /// Asks for the remaining ttl of the holder's lease, or of the first to expire of several;
  /// `life_in` reads the reply. It only limits the pause before the next attempt.
  Command ask_ttl() const { return Command(Expect::integer, "PTTL", key_); }

  /// Asks for the type of the key; `is_lock` reads the reply.
  Command type() const { return Command(Expect::status, "TYPE", key_); }
  static bool is_lock(const Reply& type) noexcept {
    return type.kind != Reply::Kind::status || type.text == "string" || type.text == "none";
  }

 private:
  std::string key_;
  bool fencing_;
};

}  // namespace redlatch::protocol
