#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/protocol/command.hpp>

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

/// One holder of one key: a string that holds the holder's token and expires by itself.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "single instance".
class Exclusive {
 public:
  explicit Exclusive(std::string key) : key_(std::move(key)) {}

  const std::string& key() const noexcept { return key_; }

  Command acquire(std::string_view token, std::chrono::milliseconds ttl) const {
    return Command(Expect::ok_or_nil, "SET", key_, token, "NX", "PX", ttl);
  }
  Command release(std::string_view token) const { return Command(release_script, key_, token); }
  Command extend(std::string_view token, std::chrono::milliseconds ttl) const {
    return Command(extend_script, key_, token, ttl);
  }

  /// Asks who holds the key; `holds` reads the answer.
  Command holder() const { return Command(Expect::text_or_nil, "GET", key_); }
  static bool holds(const Reply& holder, std::string_view token) noexcept {
    return holder.kind == Reply::Kind::string && holder.text == token;
  }

  /// Asks how long the holder's lease may last; `remaining` reads the answer.
  Command life() const { return Command(Expect::integer, "PTTL", key_); }

  /// Asks what kind of value stands in the way; `is_lock` reads the answer.
  Command kind() const { return Command(Expect::status, "TYPE", key_); }
  static bool is_lock(const Reply& kind) noexcept {
    return kind.kind != Reply::Kind::status || kind.text == "string" || kind.text == "none";
  }

 private:
  std::string key_;
};

}  // namespace redlatch::protocol
