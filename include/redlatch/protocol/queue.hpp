#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/script.hpp>

/// The queue at the server of those who wait for a key. Whoever gives the key up grants it to the
/// first of them in the same step, so that nobody gets in between, and tells that one alone. An
/// entry is the value that the lock will have, and counts for as long as its owner says so again.
/// tests/model has a model of it. All times are the server's.
namespace redlatch::protocol {

// KEYS[1] the lock, KEYS[2] the queue, a list of values, KEYS[3] a hash from a value to when the
// entry expires, the ttl and the channel of whoever waits.
//
// `serve` grants the key to the first who can still be told, or to `me`, who need not be, and gives
// it up when there is none. The key is set before anybody is told that it is. A refusal on the way
// must not leave half a release behind: it ends with a lock that is free. The value that has the
// key now, or a refusal, or nothing.
inline constexpr std::string_view serve_lua = R"(local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function serve(me)
  while true do
    local value = redis.pcall('LPOP', KEYS[2])
    local waiter = type(value) == 'string' and redis.pcall('HGET', KEYS[3], value)
    if type(waiter) == 'string' then
      redis.pcall('HDEL', KEYS[3], value)
      local expiry, ttl, channel = string.match(waiter, '^(%d+) (%d+) (.+)$')
      if expiry and tonumber(expiry) > milliseconds() then
        local done = redis.pcall('SET', KEYS[1], value, 'PX', ttl)
        if not done.err then
          if value == me then return value end
          done = redis.pcall('PUBLISH', channel, value .. '\n' .. KEYS[1])
          if type(done) == 'number' and done > 0 then return value end
        end
        if type(done) == 'table' then value = done end
      end
    elseif waiter then
      value = waiter
    end
    if type(value) ~= 'string' then
      redis.call('DEL', KEYS[1])
      return value
    end
  end
end
)";

// ARGV[1] the value. 1: released; 0: it was not ours. An absent key is written to as well, which
// changes nothing, so that a server which has become a read-only replica says so instead of
// answering 0 for what it does not know.
inline constexpr std::string_view release_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
serve()
return holder and 1 or 0)";
inline constexpr Script release_script{.text = joined<serve_lua, release_lua>,
                                       .sha1 = "afcc27a38c55fc42bf8035f12c1bcbe427c239cb",
                                       .keys = 1,
                                       .effect = Script::Effect::remove,
                                       .side_keys = {"queue", "waiters"}};

/// What the server says to an entry.
enum class Standing : std::int64_t {
  gone = 0,     // it is not in the queue any more
  granted = 1,  // just now
  told = 4,     // before; the message is on its way
  queued = 2,   // behind others
  first = 3     // as the first
};

// ARGV[1] the value, ARGV[2] the ttl, ARGV[3] how long the entry counts, ARGV[4] the channel,
// ARGV[5] 1: adds the entry, which is a new one; 0: only says again that it counts. The keys of a
// queue that is in use live on, which is seen to now and then; one that all have abandoned lives
// for an hour.
inline constexpr std::string_view stand_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 4
end
local stands = ARGV[5] == '0' and redis.call('LPOS', KEYS[2], ARGV[1])
local length = 0
if stands or ARGV[5] == '1' then
  local now = milliseconds()
  if not stands then length = redis.call('RPUSH', KEYS[2], ARGV[1]) end
  local lives_on = length < 2 or now % 64 == 0
  if lives_on then redis.call('PEXPIRE', KEYS[2], '3600000') end
  local expiry = string.format('%.0f', now + ARGV[3])
  redis.call('HSET', KEYS[3], ARGV[1], expiry .. ' ' .. ARGV[2] .. ' ' .. ARGV[4])
  if lives_on then redis.call('PEXPIRE', KEYS[3], '3600000') end
end
if not holder then
  local served = serve(ARGV[1])
  if served == ARGV[1] then return 1 end
  if type(served) == 'table' then return served end
  if not served and length > 0 then return redis.error_reply('ERR nobody is served') end
end
if not stands and ARGV[5] == '0' then return 0 end
if holder and length > 0 then return length == 1 and 3 or 2 end
return redis.call('LINDEX', KEYS[2], 0) == ARGV[1] and 3 or 2)";
inline constexpr Script stand_script{.text = joined<serve_lua, stand_lua>,
                                     .sha1 = "8527fb316128afb72fa07f8c38c82c69bff1ff5e",
                                     .keys = 1,
                                     .effect = Script::Effect::other,
                                     .side_keys = {"queue", "waiters"}};

// ARGV[1] the value. 1: it was in the queue or had the key; 0: neither.
inline constexpr std::string_view leave_lua =
    R"(redis.pcall('HDEL', KEYS[3], ARGV[1])
local stood = redis.call('LREM', KEYS[2], 1, ARGV[1])
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return stood end
serve()
return 1)";
inline constexpr Script leave_script{.text = joined<serve_lua, leave_lua>,
                                     .sha1 = "2d50b76d2b1e0879beb9817fcfc19ce806eb01bc",
                                     .keys = 1,
                                     .effect = Script::Effect::other,
                                     .side_keys = {"queue", "waiters"}};

/// So often an entry says that it counts, whatever it is told meanwhile.
constexpr std::chrono::milliseconds refresh_period(std::chrono::milliseconds ttl) noexcept {
  return std::min<std::chrono::milliseconds>(ttl / 3, std::chrono::seconds(1));
}
/// And so long it does.
constexpr std::chrono::milliseconds entry_life(std::chrono::milliseconds ttl) noexcept {
  return std::min(ttl, 3 * refresh_period(ttl));
}

inline Command stand(std::string_view key, std::string_view value, std::chrono::milliseconds ttl,
                     std::string_view channel, bool adds) {
  return Command(stand_script, key, value, ttl, entry_life(ttl), channel,
                 std::int64_t{adds ? 1 : 0});
}
inline Command leave(std::string_view key, std::string_view value) {
  return Command(leave_script, key, value);
}
/// The answer to `stand`, which is no error.
inline Standing standing(const Reply& reply) noexcept {
  return static_cast<Standing>(reply.integer);
}

/// "It is yours", as the one who waits is told.
struct Grant {
  std::string_view value;
  std::string_view key;
};
/// Labels have no control characters, so that the first line is the value. Nothing when it is
/// something else.
inline std::optional<Grant> read_grant(std::string_view message) noexcept {
  const auto end = message.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  return Grant{.value = message.substr(0, end), .key = message.substr(end + 1)};
}

// What has the server tell, on a connection that is subscribed to `invalidated`, that a key has
// changed: the key that is read next, for once.
// Source: redis.io/docs/latest/develop/reference/client-side-caching, "two connections mode".
inline constexpr std::string_view invalidated = "__redis__:invalidate";

inline Command track(std::int64_t subscriber) {
  return Command(Expect::anything, "CLIENT", "TRACKING", "ON", "REDIRECT", subscriber, "OPTIN");
}
inline Command track_next() { return Command(Expect::anything, "CLIENT", "CACHING", "YES"); }

}  // namespace redlatch::protocol
