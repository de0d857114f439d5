#pragma once

#include <string>
#include <string_view>
#include <utility>

#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/verify.hpp>

namespace redlatch::protocol {

/// An `Exclusive` lock at each of several servers, which vote independently.
/// Source: redis.io/docs/latest/develop/use/patterns/distributed-locks, "The Redlock algorithm".
class Majority : public Exclusive {
 public:
  static constexpr bool is_passed_on = false;
  static constexpr bool needs_scripts = true;
  static constexpr bool has_queue = false;
  static constexpr bool has_min_hold = false;

  Majority(std::string key, bool fencing) : Exclusive(std::move(key)) {
    if (!fencing) return;
    throw Error(Errc::unsupported,
                "a Redlock has no fencing token, as its servers count by themselves; leave fencing "
                "out");
  }

  Command holder(std::string_view value) const { return Command(verify_script, key(), value, ""); }
  static bool holds(const Reply& holder, std::string_view /*value*/) noexcept {
    return vote(holder) == Vote::yes;
  }
};

}  // namespace redlatch::protocol
