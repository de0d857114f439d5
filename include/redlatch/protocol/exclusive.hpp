#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/side_key.hpp>

namespace redlatch::protocol {

// An absent key is written to as well, which changes nothing, so that a server which has become a
// read-only replica says so instead of answering 0 for what it does not know.

// KEYS[1] the lock, ARGV[1] the token. 1: released; 0: it was not ours.
inline constexpr Script release_script{.text = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or not holder then return redis.call('DEL', KEYS[1]) end
return 0)",
                                       .sha1 = "cfa4e6df953aa8e98dfc77aeb56b8af026b12633",
                                       .keys = 1,
                                       .effect = Script::Effect::remove};

// KEYS[1] the lock, ARGV[1] the token, ARGV[2] the ttl in milliseconds. 1: extended; 0: not ours.
inline constexpr Script extend_script{.text = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] or not holder then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0)",
                                      .sha1 = "cc2a0ead694e9df2bcdbbaec64648c0fd880e60a",
                                      .keys = 1,
                                      .effect = Script::Effect::expire};

// KEYS[1] the lock, KEYS[2] its fencing counter, ARGV[1] the value, ARGV[2] the ttl, ARGV[3] the
// counter's own ttl, both in milliseconds. The fencing token: acquired; 0: somebody else's. The
// counter is no smaller than the clock, so that a counter which was lost does not start again. It
// is written first, so that no lock is ever without its token.
inline constexpr Script acquire_fenced_script{
    .text = R"(if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
if not last then return redis.error_reply('WRONGTYPE the fencing counter is not a number') end
local time = redis.call('TIME')
local token = math.max(last + 1, time[1] * 1000000 + time[2])
redis.call('SET', KEYS[2], string.format('%.0f', token), 'PX', ARGV[3])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return token)",
    .sha1 = "6d374203073cb0abb3b2276bfe985c09456ec347",
    .keys = 2,
    .effect = Script::Effect::other};

/// One holder of one key: a string that holds the holder's value, which begins with its token, and
/// expires by itself. With `fencing` there is a counter beside it, from which every acquisition
/// draws a larger number.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "single instance".
class Exclusive {
 public:
  explicit Exclusive(std::string key, bool fencing = false) : key_(std::move(key)) {
    if (fencing) counter_ = side_key(key_, "fence");
  }

  const std::string& key() const noexcept { return key_; }

  Command acquire(std::string_view value, std::chrono::milliseconds ttl) const {
    if (counter_.empty()) return Command(Expect::ok_or_nil, "SET", key_, value, "NX", "PX", ttl);
    return Command(acquire_fenced_script, key_, counter_, value, ttl, counter_life(ttl));
  }
  Command release(std::string_view value) const { return Command(release_script, key_, value); }
  Command extend(std::string_view value, std::chrono::milliseconds ttl) const {
    return Command(extend_script, key_, value, ttl);
  }

  /// Asks who holds the key; `holds` reads the answer.
  Command holder() const { return Command(Expect::text_or_nil, "GET", key_); }
  static bool holds(const Reply& holder, std::string_view value) noexcept {
    return holder.kind == Reply::Kind::string && holder.text == value;
  }

  /// Asks how long the holder's lease may last; `remaining` reads the answer.
  Command life() const { return Command(Expect::integer, "PTTL", key_); }

  /// Asks what kind of value stands in the way; `is_lock` reads the answer.
  Command kind() const { return Command(Expect::status, "TYPE", key_); }
  static bool is_lock(const Reply& kind) noexcept {
    return kind.kind != Reply::Kind::status || kind.text == "string" || kind.text == "none";
  }

 private:
  /// No counter lives for ever, but one that is used does.
  static std::chrono::milliseconds counter_life(std::chrono::milliseconds ttl) noexcept {
    return std::max<std::chrono::milliseconds>(std::chrono::days(1), 100 * ttl);
  }

  std::string key_;
  std::string counter_{};
};

}  // namespace redlatch::protocol
