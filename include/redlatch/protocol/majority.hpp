#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/exclusive.hpp>

namespace redlatch::protocol {

// KEYS[1] the lock, ARGV[1] the value. 1: it holds the key; 0: it does not.
inline constexpr Script verify_script{
    .text = "return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0",
    .sha1 = "75c577f540c9d571bc4f6163d41a716c9bc8500c",
    .keys = 1,
    .effect = Script::Effect::other};

/// The lock of one server on each of several: each says yes or no by itself.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "The Redlock algorithm".
class Majority : public Exclusive {
 public:
  static constexpr bool is_passed_on = false;
  static constexpr bool needs_scripts = true;
  static constexpr bool has_queue = false;

  Majority(std::string key, bool fencing) : Exclusive(std::move(key)) {
    if (!fencing) return;
    throw Error(Errc::unsupported,
                "a Redlock has no fencing token, as its servers count by themselves; leave fencing "
                "out");
  }

  Command holder(std::string_view value) const { return Command(verify_script, key(), value); }
  static bool holds(const Reply& holder, std::string_view /*value*/) noexcept {
    return verdict(holder) == Verdict::yes;
  }
};

}  // namespace redlatch::protocol
