#pragma once

#include <chrono>
#include <string_view>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/fencing.hpp>
#include <redlatch/protocol/queue.hpp>

namespace redlatch::protocol {

// KEYS[1] the lock, KEYS[2] the queue, KEYS[3] the fencing counter, ARGV[1] the value, ARGV[2] the
// ttl, ARGV[3] with fencing the counter's own. 1, or the fencing token: acquired; 0: the lock is
// held, or was granted to the first entry of the queue. The functions are defined where they are
// needed: mostly there is no queue, and to define all of them costs more than to look for one.
inline constexpr std::string_view if_not_held_lua =
    R"(if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then
)";
inline constexpr std::string_view serve_first_lua = R"(local served = serve(KEYS)
if served then return type(served) == 'table' and served or 0 end
end
local token = 1
if ARGV[3] then
)";
inline constexpr std::string_view acquire_fair_lua = R"(token = draw({KEYS[3]}, ARGV[3])
end
if type(token) == 'number' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return token)";
extern const Sha1 acquire_fair_hash;
inline constexpr Script acquire_fair_script{
    .text = joined<if_not_held_lua, milliseconds_lua, entry_lua, serve_lua, serve_first_lua,
                   draw_lua, acquire_fair_lua>,
    .hash = &acquire_fair_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue", "fence"}};

/// An `Exclusive` lock whose attempts never overtake the entries in its queue.
class Fair : public Exclusive {
 public:
  static constexpr bool is_passed_on = false;
  static constexpr bool joins_at_once = true;
  static constexpr bool needs_scripts = true;

  using Exclusive::Exclusive;

  Command acquire(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing()) return Command(acquire_fair_script, key(), value, ttl);
    return Command(acquire_fair_script, key(), value, ttl, counter_life(ttl));
  }
};

}  // namespace redlatch::protocol
