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
/// All times are the server's.
namespace redlatch::protocol {

inline constexpr std::string_view milliseconds_lua = R"(local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
)";

// KEYS[1] the lock, KEYS[2] the queue, a list of entries: when it expires, the ttl and the channel
// of whoever waits, and the value, with spaces in between. A list whose first entry has another
// form belongs to another program, and is not touched.
//
// `is_heard` says whether a channel of exactly this name has a subscriber. PUBLISH counts
// subscribers of patterns, too, so that its answer says less, and is only relied on where the user
// may not ask. The message is not replicated: a waiter whose connection leads to a replica, as
// after a failover, would take it for a grant although the primary has passed the waiter over.
inline constexpr std::string_view entry_lua = R"(local function read_entry(entry)
  if type(entry) ~= 'string' then return nil end
  return string.match(entry, '^(%d+) (%d+) (redlatch:%S+) (.+)$')
end
local function is_foreign(entry)
  return type(entry) == 'string' or string.find(entry.err, 'WRONGTYPE')
end
local function no_queue(key)
  local name = string.gsub(key, '[^%w:._/{}-]', '?')
  return redis.error_reply('NOLOCK ' .. name .. ' is no queue of a lock')
end
local function is_heard(channel)
  local heard = redis.pcall('PUBSUB', 'NUMSUB', channel)
  return heard.err or heard[2] > 0
end
local function is_told(channel, value, key)
  pcall(redis.set_repl, redis.REPL_NONE)
  local told = redis.pcall('PUBLISH', channel, value .. '\n' .. key)
  pcall(redis.set_repl, redis.REPL_ALL)
  if type(told) == 'table' then return told end
  return told > 0
end
)";

// `serve` grants a key to the first in its queue who can still be told, or to `me`, who need not
// be, and gives it up when there is none. Entries of locks of another kind are passed over. The key
// is set before anybody is told that it is. A refusal on the way must not leave half a release
// behind: it ends with a lock that is free. The value that has the key now, or a refusal, or false.
// `entry` is the first one, if it is known. KEYS is also the name of the parameter, since some
// services run only scripts in which each key is written as KEYS[n].
inline constexpr std::string_view serve_lua = R"(local function serve(KEYS, me, entry)
  while true do
    entry = entry or redis.pcall('LINDEX', KEYS[2], '0')
    local expiry, ttl, channel, value = read_entry(entry)
    local refusal = false
    if value then
      entry = redis.pcall('LPOP', KEYS[2])
      if type(entry) == 'table' then refusal = entry end
    elseif type(entry) == 'table' then
      refusal = entry
    end
    if refusal or not value then
      redis.call('DEL', KEYS[1])
      return refusal
    end
    local counts = tonumber(expiry) > milliseconds() and
      string.find(value, '^%x+%-%x+%-%x+%-%x+%-%x+')
    if counts and (value == me or is_heard(channel)) then
      local done = redis.pcall('SET', KEYS[1], value, 'PX', ttl)
      if not done.err then
        if value == me then return value end
        done = is_told(channel, value, KEYS[1])
        if done == true then return value end
      end
      if done then
        redis.call('DEL', KEYS[1])
        return done
      end
    end
    entry = nil
  end
end
)";

// ARGV[1] the value. 1: released; 0: it was not ours. Mostly nobody waits, and there is no more to
// it. An absent key is written to as well, which changes nothing, so that a server which has become
// a read-only replica says so instead of answering 0 for what it does not know.
inline constexpr std::string_view release_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local first = redis.pcall('LINDEX', KEYS[2], '0')
if type(first) ~= 'string' then return redis.call('DEL', KEYS[1]) end
)";
inline constexpr std::string_view release_to_first_lua = R"(serve(KEYS, nil, first)
return holder and 1 or 0)";
extern const Sha1 release_hash;
inline constexpr Script release_script{
    .text = joined<release_lua, milliseconds_lua, entry_lua, serve_lua, release_to_first_lua>,
    .hash = &release_hash,
    .effect = Script::Effect::remove,
    .side_keys = {"queue"}};

/// What the server says to an entry.
enum class QueueStatus : std::int64_t {
  gone = 0,        // it is not in the queue any more
  granted = 1,     // just now
  notified = 4,    // before; the message is on its way
  queued = 2,      // behind others
  first = 3,       // as the first
  own_reader = 5,  // behind a reader of its own thread, whose lease ends soon if nothing renews it
  deadlock = -1    // it is not in the queue: it would wait for its own thread
};

// The entry of ARGV[1] and its index, whatever it says of its expiry; best found by the way that it
// looked last.
inline constexpr std::string_view find_lua = R"(local function find(looked)
  local index = redis.call('LPOS', KEYS[2], looked)
  if index then return looked, index end
  local tail = ' ' .. ARGV[1]
  for i, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    if string.sub(entry, -#tail) == tail then return entry, i - 1 end
  end
end
)";

// Adds the entry of ARGV[1], ARGV[2] the ttl and ARGV[3] the channel, which counts for ARGV[4]
// milliseconds, if ARGV[5] is `new`. Otherwise that is until when it counts, as was told, and it
// counts for longer. The new end, the entry, its index, or none when it is gone, and the length
// of the queue when it was added; or only a refusal, when the queue is another program's. The key
// of a queue that is in use lives on, which is seen to now and then; one that all have abandoned
// lives for an hour.
inline constexpr std::string_view enqueue_lua = R"(local function foreign_queue()
  local first = redis.pcall('LINDEX', KEYS[2], '0')
  if not first or read_entry(first) then return nil end
  return is_foreign(first) and no_queue(KEYS[2]) or first
end
local function enqueue()
  local rest = ' ' .. ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[1]
  local expiry = milliseconds() + ARGV[4]
  local entry = expiry .. rest
  local length = 0
  local index
  if ARGV[5] == 'new' then
    local refusal = foreign_queue()
    if refusal then return refusal end
    length = redis.call('RPUSH', KEYS[2], entry)
    index = length - 1
  else
    index = select(2, find(ARGV[5] .. rest))
    if index then redis.call('LSET', KEYS[2], index, entry) end
  end
  if index and (length < 2 or expiry % 64 == 0) then redis.call('PEXPIRE', KEYS[2], '3600000') end
  return expiry, entry, index, length
end
)";

// Arguments as of `enqueue`. Eight times until when the entry counts, and what it is told.
inline constexpr std::string_view stand_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 4
end
local expiry, entry, index, length = enqueue()
if type(expiry) == 'table' then return expiry end
if not holder then
  local served = serve(KEYS, ARGV[1])
  if served == ARGV[1] then return 1 end
  if type(served) == 'table' then return served end
  if not served and length > 0 then return redis.error_reply('ERR nobody is served') end
  index = index and redis.call('LINDEX', KEYS[2], '0') == entry and 0 or index
end
if not index then return 0 end
return expiry * 8 + (index == 0 and 3 or 2))";
extern const Sha1 stand_hash;
inline constexpr Script stand_script{
    .text = joined<milliseconds_lua, entry_lua, serve_lua, find_lua, enqueue_lua, stand_lua>,
    .hash = &stand_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"}};

// ARGV[1] the value, ARGV[2] the ttl, ARGV[3] the channel, ARGV[4] until when the entry counts, as
// was told; without these there is none. 1: it was in the queue or had the key; 0: neither.
inline constexpr std::string_view leave_lua =
    R"(if redis.call('GET', KEYS[1]) == ARGV[1] then
  serve(KEYS)
  return 1
end
local entry = ARGV[2] and find(table.concat({ARGV[4], ARGV[2], ARGV[3], ARGV[1]}, ' '))
return entry and redis.call('LREM', KEYS[2], 1, entry) or 0)";
extern const Sha1 leave_hash;
inline constexpr Script leave_script{
    .text = joined<milliseconds_lua, entry_lua, serve_lua, find_lua, leave_lua>,
    .hash = &leave_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"}};

/// So often an entry says that it counts, whatever it is told meanwhile.
constexpr std::chrono::milliseconds refresh_period(std::chrono::milliseconds ttl) noexcept {
  return std::min<std::chrono::milliseconds>(ttl / 3, std::chrono::seconds(1));
}
/// And so long it does.
constexpr std::chrono::milliseconds entry_life(std::chrono::milliseconds ttl) noexcept {
  return std::min(ttl, 3 * refresh_period(ttl));
}

/// How long a waiter is `QueueStatus::own_reader` at most. A reader that is still there afterwards
/// is renewed, so that the wait would have no end.
constexpr std::chrono::milliseconds own_reader_ends_within(std::chrono::milliseconds ttl) noexcept {
  return ttl / 10 + std::chrono::milliseconds(1100);
}

/// Who waits for a lock of `value`, and where that one is told.
struct QueueEntry {
  std::string_view value;
  std::chrono::milliseconds ttl;
  std::string_view channel;
};

/// Adds an entry, a new one.
inline Command enqueue(const Script& stand, std::string_view key, const QueueEntry& entry) {
  return Command(stand, key, entry.value, entry.ttl, entry.channel, entry_life(entry.ttl), "new");
}
/// Says again that the entry counts, which was known to until `expiry`, by the server's clock.
inline Command refresh(const Script& stand, std::string_view key, const QueueEntry& entry,
                       std::int64_t expiry) {
  return Command(stand, key, entry.value, entry.ttl, entry.channel, entry_life(entry.ttl), expiry);
}
inline Command dequeue(const Script& dequeue, std::string_view key, const QueueEntry& entry,
                       std::int64_t expiry) {
  return Command(dequeue, key, entry.value, entry.ttl, entry.channel, expiry);
}
/// The answer to `enqueue` and `refresh`, which is no error. An entry with an answer that no script
/// of ours gives counts as gone.
inline QueueStatus status(const Reply& reply) noexcept {
  const auto status = static_cast<QueueStatus>(reply.integer % 8);
  switch (status) {
    case QueueStatus::gone:
    case QueueStatus::granted:
    case QueueStatus::notified:
    case QueueStatus::queued:
    case QueueStatus::first:
    case QueueStatus::own_reader:
    case QueueStatus::deadlock:
      return status;
  }
  return QueueStatus::gone;
}
/// With that, until when the entry counts. 0: it is none any more.
inline std::int64_t expiry(const Reply& reply) noexcept {
  return std::max<std::int64_t>(reply.integer / 8, 0);
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
