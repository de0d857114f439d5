#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/script.hpp>

/// The queue at the server of the waiters for a key. A release grants the key to the first entry in
/// the same step, so that no other client can acquire it in between, and notifies only that waiter.
/// An entry contains the value that the lock will have, and expires unless its waiter refreshes it.
/// All times are the server's.
namespace redlatch::protocol {

inline constexpr std::string_view channel_prefix = "redlatch:";
inline constexpr std::string_view shard_prefix = "redlatch:shard:";

inline constexpr std::string_view milliseconds_lua = R"(local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
)";

// KEYS[1] the lock, KEYS[2] the queue, a list of entries: the expiry, the ttl and the channel of
// the waiter, and the value, separated by spaces. A list whose first entry has another form belongs
// to another program, and is not touched.
//
// A channel that begins with `shard_prefix` is one of a cluster's shard: its messages stay at the
// node, while those of other channels go to all nodes.
//
// `is_heard` returns whether a channel of exactly this name has a subscriber. PUBLISH counts
// subscribers of patterns, too, so its result is only used if the user may not run PUBSUB NUMSUB.
// The message is not replicated: a waiter whose connection leads to a replica, as after a failover,
// would take it for a grant although the primary has passed the waiter over.
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
local function is_of_shard(channel) return string.find(channel, '^redlatch:shard:') end
local function is_heard(channel)
  local heard = redis.pcall('PUBSUB', is_of_shard(channel) and 'SHARDNUMSUB' or 'NUMSUB', channel)
  return heard.err or heard[2] > 0
end
local function is_told(channel, value, key)
  pcall(redis.set_repl, redis.REPL_NONE)
  local publish = is_of_shard(channel) and 'SPUBLISH' or 'PUBLISH'
  local told = redis.pcall(publish, channel, value .. '\n' .. key)
  pcall(redis.set_repl, redis.REPL_ALL)
  if type(told) == 'table' then return told end
  return told > 0
end
)";

// `serve` grants the key to the first entry whose waiter can be notified, or to `me`, which need
// not be notified, and deletes the key if there is none. Entries of locks of another class are
// skipped. The key is set before the waiter is notified. An error must not leave half a release: it
// leaves the key deleted. Returns the value that the key has now, or an error, or false. `entry` is
// the first entry, if it is known. The parameter is named KEYS because some services run only
// scripts in which each key is written as KEYS[n].
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

// ARGV[1] the value. 1: released; 0: it was not ours. Mostly there are no waiters, and the first
// part is all that runs. An absent key is written to as well, which changes nothing: a server that
// has become a read-only replica refuses that, instead of answering 0 for what it does not know.
inline constexpr std::string_view release_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
local first = redis.pcall('LINDEX', KEYS[2], '0')
if type(first) ~= 'string' then return redis.call('DEL', KEYS[1]) end
)";
inline constexpr std::string_view release_to_first_lua = R"(serve(KEYS, nil, first)
return holder and 1 or 0)";
// ARGV[1] the value. The reply is that of `release_script`; the first waiter is left in the queue.
inline constexpr std::string_view release_alone_lua =
    R"(local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1]))";
extern const Sha1 release_alone_hash;
inline constexpr Script release_alone_script{
    .text = release_alone_lua, .hash = &release_alone_hash, .effect = Script::Effect::remove};

extern const Sha1 release_hash;
inline constexpr Script release_script{
    .text = joined<release_lua, milliseconds_lua, entry_lua, serve_lua, release_to_first_lua>,
    .hash = &release_hash,
    .effect = Script::Effect::remove,
    .side_keys = {"queue"},
    .alone = &release_alone_script};

/// What the reply to `enqueue` and `refresh` says of the entry.
enum class QueueStatus : std::int64_t {
  gone = 0,      // not in the queue any more: it has expired or was passed over
  granted = 1,   // the lock is ours by this command
  notified = 4,  // the lock was granted before, and the message is on its way
  queued = 2,    // behind other entries
  first = 3,     // first in the queue
  own_reader =
      5,         // behind a reader of the waiter's own thread, which ends soon unless it is renewed
  deadlock = -1  // not in the queue: the thread would wait for itself, if it holds that reader
};

// Finds the entry of the value ARGV[1], whatever its expiry, and its index. `looked` is the text
// that the entry had last, by which the server finds it fastest.
inline constexpr std::string_view find_lua = R"(local function find(looked)
  local index = redis.call('LPOS', KEYS[2], looked)
  if index then return looked, index end
  local tail = ' ' .. ARGV[1]
  for i, entry in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    if string.sub(entry, -#tail) == tail then return entry, i - 1 end
  end
end
)";

// Adds an entry if ARGV[5] is `new`, else refreshes the one whose expiry is ARGV[5]. ARGV[1] is the
// value, ARGV[2] the ttl, ARGV[3] the channel and ARGV[4] the life of the entry in milliseconds.
// Returns the new expiry, the entry, its index, or nil if it is gone, and the length of the queue
// if it was added; only an error if the queue is another program's. Each new entry, and each
// refresh, which waiters send every second at least, gives the key of the queue a ttl of a minute,
// in which all entries expire that are not refreshed: a queue that all waiters have abandoned ends
// soon, also where one could not take its entry out, as scripts were refused. A new entry does so
// behind others, too: these may be of waiters that have died almost a minute ago.
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
  if index then redis.call('PEXPIRE', KEYS[2], '60000') end
  return expiry, entry, index, length
end
)";

// Arguments as of `enqueue`. Returns eight times the expiry of the entry, plus its `QueueStatus`. A
// new entry needs no queue where there is neither a holder nor an entry before it.
inline constexpr std::string_view stand_if_free_lua = R"(local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 4
end
if not holder and ARGV[5] == 'new' and not redis.pcall('LINDEX', KEYS[2], '0') then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
)";
inline constexpr std::string_view stand_lua = R"(local expiry, entry, index, length = enqueue()
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
inline constexpr Script stand_script{.text = joined<stand_if_free_lua, milliseconds_lua, entry_lua,
                                                    serve_lua, find_lua, enqueue_lua, stand_lua>,
                                     .hash = &stand_hash,
                                     .effect = Script::Effect::other,
                                     .side_keys = {"queue"}};

// ARGV[1] the value, ARGV[2] the ttl, ARGV[3] the channel, ARGV[4] the last known expiry of the
// entry; without the last three there is no entry. 1: it was in the queue, or had the key; 0:
// neither.
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
    .side_keys = {"queue"},
    .alone = &release_alone_script};

/// The interval at which a waiter refreshes its entry, whether messages come or not.
constexpr std::chrono::milliseconds refresh_period(std::chrono::milliseconds ttl) noexcept {
  return std::min<std::chrono::milliseconds>(ttl / 3, std::chrono::seconds(1));
}
/// The lifetime of an entry that is not refreshed.
constexpr std::chrono::milliseconds entry_life(std::chrono::milliseconds ttl) noexcept {
  return std::min(ttl, 3 * refresh_period(ttl));
}

/// What an entry consists of: the value and the ttl of the future lock, and the channel of its
/// waiter.
struct QueueEntry {
  std::string_view value;
  std::chrono::milliseconds ttl;
  std::string_view channel;
};

/// Adds a new entry; `status` and `expiry` read the reply.
inline Command enqueue(const Script& stand, std::string_view key, const QueueEntry& entry) {
  return Command(stand, key, entry.value, entry.ttl, entry.channel, entry_life(entry.ttl), "new");
}
/// Refreshes an entry whose last known expiry is `expiry`, by the server's clock; the reply is that
/// of `enqueue`.
inline Command refresh(const Script& stand, std::string_view key, const QueueEntry& entry,
                       std::int64_t expiry) {
  return Command(stand, key, entry.value, entry.ttl, entry.channel, entry_life(entry.ttl), expiry);
}
/// Removes an entry, or releases the lock that it was granted.
inline Command dequeue(const Script& dequeue, std::string_view key, const QueueEntry& entry,
                       std::int64_t expiry) {
  return Command(dequeue, key, entry.value, entry.ttl, entry.channel, expiry);
}
/// The status in a reply that is not an error. An unknown number counts as gone.
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
/// The expiry of the entry in the same reply; 0: there is no entry.
inline std::int64_t expiry(const Reply& reply) noexcept {
  return std::max<std::int64_t>(reply.integer / 8, 0);
}

/// What `is_told` of the scripts publishes on the channel of a waiter, about its entry with this
/// value: a grant of the lock `key`, or, without a key, a request to refresh the entry, as no grant
/// will come: the key was left to expire (`release_after_script`).
struct Notification {
  std::string_view value;
  std::string_view key;

  bool is_grant() const noexcept { return !key.empty(); }
};
/// The value is the first line, as labels have no control characters. Nothing if the message is not
/// of this form.
inline std::optional<Notification> read_notification(std::string_view message) noexcept {
  const auto end = message.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  return Notification{.value = message.substr(0, end), .key = message.substr(end + 1)};
}

// The channel on which the server announces that a key has changed, to the connection `subscriber`:
// once, for the key that the command behind `track_next` reads.
// Source: redis.io/docs/latest/develop/reference/client-side-caching, "two connections mode".
inline constexpr std::string_view invalidated = "__redis__:invalidate";

inline Command track(std::int64_t subscriber) {
  return Command(Expect::anything, "CLIENT", "TRACKING", "ON", "REDIRECT", subscriber, "OPTIN");
}
inline Command track_next() { return Command(Expect::anything, "CLIENT", "CACHING", "YES"); }

}  // namespace redlatch::protocol
