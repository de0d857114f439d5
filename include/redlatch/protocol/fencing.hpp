#pragma once

#include <algorithm>
#include <chrono>
#include <string_view>

#include <redlatch/protocol/script.hpp>

/// Fencing tokens: each is larger than all that were drawn for its key before. A token is at least
/// the server's time in microseconds, so that a counter which was lost does not start again.
namespace redlatch::protocol {

// Draws a token from a counter, which is "fence" and the last token, and sets the counter's ttl, in
// milliseconds. Anything else at its name belongs to another program, and is not touched. The
// parameter is named KEYS for the reason in queue.hpp.
inline constexpr std::string_view draw_lua = R"(local function draw(KEYS, life)
  local found = redis.pcall('GET', KEYS[1])
  if type(found) == 'table' and not string.find(found.err, 'WRONGTYPE') then return found end
  local last = 0
  if found then
    last = type(found) == 'string' and tonumber(string.match(found, '^fence (%d+)$'))
  end
  if not (last and last < 2 ^ 53) then
    local name = string.gsub(KEYS[1], '[^%w:._/{}-]', '?')
    return redis.error_reply('NOLOCK ' .. name .. ' is no fencing counter of a lock')
  end
  local time = redis.call('TIME')
  local token = math.max(last + 1, time[1] * 1000000 + time[2])
  redis.call('SET', KEYS[1], string.format('fence %.0f', token), 'PX', life)
  return token
end
)";

// KEYS[1] the lock, KEYS[2] the counter, ARGV[1] the value, ARGV[2] the ttl, ARGV[3] the counter's
// own. The fencing token: acquired; 0: held elsewhere. The token is drawn first, so that an error
// in between leaves no lock without one.
inline constexpr std::string_view acquire_fenced_lua =
    R"(if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local token = draw({KEYS[2]}, ARGV[3])
if type(token) == 'number' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return token)";
extern const Sha1 acquire_fenced_hash;
inline constexpr Script acquire_fenced_script{.text = joined<draw_lua, acquire_fenced_lua>,
                                              .hash = &acquire_fenced_hash,
                                              .effect = Script::Effect::other,
                                              .side_keys = {"fence"}};

// Draws the token of a lock that the server has granted, and extends it; same keys and arguments.
// 0: not ours any more.
inline constexpr std::string_view claim_fenced_lua =
    R"(if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local token = draw({KEYS[2]}, ARGV[3])
if type(token) == 'number' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return token)";
extern const Sha1 claim_fenced_hash;
inline constexpr Script claim_fenced_script{.text = joined<draw_lua, claim_fenced_lua>,
                                            .hash = &claim_fenced_hash,
                                            .effect = Script::Effect::other,
                                            .side_keys = {"fence"}};

/// The ttl of a counter: a counter that is used stays, and no other is left at the server for good.
inline std::chrono::milliseconds counter_life(std::chrono::milliseconds ttl) noexcept {
  return std::max<std::chrono::milliseconds>(std::chrono::days(1), 100 * ttl);
}

}  // namespace redlatch::protocol
