#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/fencing.hpp>
#include <redlatch/protocol/queue.hpp>

/// Locks with several holders: a sorted set of their values, each with its own expiry as the score.
/// A value begins with an owner tag: the limit, for one of several
/// permits; `r` or `w` and a thread, for a reader or a writer; `=` and a name, for a hold of that
/// owner. All times are the server's.
namespace redlatch::protocol {

// KEYS[1] the holders, KEYS[2] the queue, KEYS[3] the fencing counter, ARGV[1] the value.
//
// Expired holders and the first that stays must have the form of a lock. `first` is the value of
// the holder that expires first: false if there is none, and nil if it is not known, as when
// holders have expired.
inline constexpr std::string_view holders_lua = R"(local now = milliseconds()
local function is_lock(value)
  return string.find(value, '^[rw=]%S* %x+%-%x+%-%x+%-%x+%-%x+') or
    string.find(value, '^%d+ %x+%-%x+%-%x+%-%x+%-%x+')
end
local oldest = redis.call('ZRANGE', KEYS[1], '0', '0', 'WITHSCORES')
local first, from, to = oldest[1] or false, 1, 64
while #oldest > 0 do
  for i = 1, #oldest, 2 do
    if not is_lock(oldest[i]) then
      return redis.error_reply('NOLOCK the key is a sorted set of something else')
    end
  end
  if tonumber(oldest[#oldest]) > now then break end
  first = nil
  oldest = redis.call('ZRANGE', KEYS[1], from, to, 'WITHSCORES')
  from, to = to + 1, to + 64
end
local function first_holder()
  if first == nil then first = redis.call('ZRANGE', KEYS[1], '0', '0')[1] or false end
  return first
end
local function owner_tag(value) return string.match(value, '^%S+') end
)";

// Removes the expired holders. A script that may write nothing else does so even if there are none:
// a server that has become a read-only replica refuses it, instead of answering for what it does
// not know.
inline constexpr std::string_view remove_expired_lua =
    R"(redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
)";
inline constexpr std::string_view remove_expired_if_any_lua =
    R"(if first == nil then redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now) end
)";

// The key expires with the last of its holders, whatever ttl they had. `hold` adds a holder, or
// sets its ttl. `give_up` removes one, and returns whether it was one. Mostly, a new holder is the
// last, and one that goes is not.
inline constexpr std::string_view change_lua = R"(local function is_last(value)
  return redis.call('ZRANGE', KEYS[1], '-1', '-1')[1] == value
end
local function settle_life()
  local longest = redis.call('ZRANGE', KEYS[1], '-1', '-1', 'WITHSCORES')[2]
  if longest then redis.call('PEXPIRE', KEYS[1], longest - now) end
end
local function hold(value, ttl)
  redis.call('ZADD', KEYS[1], now + ttl, value)
  if first == false or is_last(value) then
    redis.call('PEXPIRE', KEYS[1], ttl)
  else
    settle_life()
  end
  first = nil
end
local function give_up(value)
  local was_last = value ~= first and is_last(value)
  local had = redis.call('ZREM', KEYS[1], value)
  if was_last then pcall(settle_life) end
  first = nil
  return had
end
)";

// `admits` returns whether a value may become one of the holders now, or an error.
inline constexpr std::string_view admits_lua = R"(local function admits(value)
  local held = first_holder()
  if not held then return true end
  local ours, theirs = owner_tag(value), owner_tag(held)
  local limit, other = tonumber(ours), tonumber(theirs)
  if limit and other then
    if limit ~= other then
      return redis.error_reply('LIMIT there are holders with a limit of ' .. theirs)
    end
    return redis.call('ZCARD', KEYS[1]) < limit
  end
  local both = string.sub(ours, 1, 1) .. string.sub(theirs, 1, 1)
  if both == 'rr' then return true end
  if both == 'rw' or both == 'wr' or both == 'ww' then return false end
  if both == '==' then return ours == theirs end
  return redis.error_reply('NOLOCK the key is a lock of another class')
end
)";

// `admit_waiting` makes holders of the first entries that `admits` allows and whose waiters can be
// notified; `me` need not be notified. `entry` is the first entry, if it is known. Returns whether
// `me` was one of them, or an error if the queue is another program's; and whether there are
// entries left. Entries of locks of another class are removed.
//
// `own_reader` returns the remaining ttl of the reader that the writer's own thread holds, or nil.
inline constexpr std::string_view admit_waiting_lua = R"(local function admit_waiting(me, entry)
  local is_in = false
  while true do
    entry = entry or redis.pcall('LINDEX', KEYS[2], '0')
    if not entry then return is_in, false end
    local expiry, ttl, channel, value = read_entry(entry)
    if not value then return is_foreign(entry) and no_queue(KEYS[2]) or entry end
    local counts = tonumber(expiry) > now and is_lock(value)
    if counts and admits(value) ~= true then return is_in, true end
    redis.call('LPOP', KEYS[2])
    if counts and value == me then
      hold(value, ttl)
      is_in = true
    elseif counts and is_heard(channel) then
      hold(value, ttl)
      if is_told(channel, value, KEYS[1]) ~= true then give_up(value) end
    end
    entry = nil
  end
end
local function holds_already(value)
  local held = string.sub(value, 1, 1) == '=' and first_holder()
  return held and owner_tag(held) == owner_tag(value)
end
local function own_reader(writer)
  local thread = string.match(writer, '^w(%S+)')
  local held = thread and redis.call('ZRANGE', KEYS[1], '0', '-1', 'WITHSCORES') or {}
  local left
  for i = 1, #held, 2 do
    if owner_tag(held[i]) == 'r' .. thread then left = held[i + 1] - now end
  end
  return left
end
)";

// ARGV[2] the ttl, ARGV[3] with fencing the counter's own. 1, or the fencing token: acquired; 0:
// held by others, or others wait; -1: the thread would wait for itself. An attempt does not
// overtake waiters, unless its owner has a hold already.
inline constexpr std::string_view acquire_shared_lua =
    R"(local refusal, others_wait = admit_waiting()
if refusal then return refusal end
local may = admits(ARGV[1])
if type(may) == 'table' then return may end
if not may then return own_reader(ARGV[1]) and -1 or 0 end
if others_wait and not holds_already(ARGV[1]) then return 0 end
local token = ARGV[3] and draw({KEYS[3]}, ARGV[3]) or 1
if type(token) == 'number' then hold(ARGV[1], ARGV[2]) end
return token)";
extern const Sha1 acquire_shared_hash;
inline constexpr Script acquire_shared_script{
    .text = joined<milliseconds_lua, draw_lua, entry_lua, holders_lua, remove_expired_lua,
                   change_lua, admits_lua, admit_waiting_lua, acquire_shared_lua>,
    .hash = &acquire_shared_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue", "fence"}};

// ARGV[2] the ttl. 1: extended; 0: not one of the holders. One key only, so that it works while a
// cluster moves the slot.
inline constexpr std::string_view is_holder_lua =
    R"(if ARGV[1] ~= first and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return redis.call('ZREM', KEYS[1], ARGV[1])
end
)";
inline constexpr std::string_view extend_shared_lua = R"(hold(ARGV[1], ARGV[2])
return 1)";
extern const Sha1 extend_shared_hash;
inline constexpr Script extend_shared_script{
    .text = joined<milliseconds_lua, holders_lua, remove_expired_if_any_lua, change_lua,
                   is_holder_lua, extend_shared_lua>,
    .hash = &extend_shared_hash,
    .effect = Script::Effect::other};

// ARGV[2] the ttl, ARGV[3] the counter's own. The fencing token: drawn, and the lease extended; 0:
// not one of the holders.
inline constexpr std::string_view claim_shared_lua =
    R"(local token = draw({KEYS[2]}, ARGV[3])
if type(token) == 'number' then hold(ARGV[1], ARGV[2]) end
return token)";
extern const Sha1 claim_shared_hash;
inline constexpr Script claim_shared_script{
    .text = joined<milliseconds_lua, draw_lua, holders_lua, remove_expired_if_any_lua, change_lua,
                   is_holder_lua, claim_shared_lua>,
    .hash = &claim_shared_hash,
    .effect = Script::Effect::other,
    .side_keys = {"fence"}};

// 1: released; 0: not one of the holders. The first waiters are left in the queue.
inline constexpr std::string_view release_shared_alone_lua = R"(return give_up(ARGV[1]))";
extern const Sha1 release_shared_alone_hash;
inline constexpr Script release_shared_alone_script{
    .text = joined<milliseconds_lua, holders_lua, remove_expired_if_any_lua, change_lua,
                   release_shared_alone_lua>,
    .hash = &release_shared_alone_hash,
    .effect = Script::Effect::other};

// 1: released; 0: not one of the holders. An error while waiters are notified must not undo it.
// Mostly there are no waiters, and the first part is all that runs.
inline constexpr std::string_view release_shared_lua =
    R"(local released = give_up(ARGV[1])
local entry = redis.pcall('LINDEX', KEYS[2], '0')
if type(entry) ~= 'string' then return released end
)";
inline constexpr std::string_view release_shared_to_first_lua = R"(pcall(admit_waiting, nil, entry)
return released)";
extern const Sha1 release_shared_hash;
inline constexpr Script release_shared_script{
    .text = joined<milliseconds_lua, holders_lua, remove_expired_if_any_lua, change_lua,
                   release_shared_lua, entry_lua, admits_lua, admit_waiting_lua,
                   release_shared_to_first_lua>,
    .hash = &release_shared_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"},
    .alone = &release_shared_alone_script};

// Arguments and result as of `stand_script`. The thread of a waiting writer may have a reader whose
// lease is lost, because it was not renewed: it expires at the server 6 % of its ttl later. If the
// reader's remaining ttl is more than a tenth of the writer's ttl plus 100 ms, the writer gets no
// entry: it would hold others back for as long.
inline constexpr std::string_view stand_shared_lua =
    R"(if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  hold(ARGV[1], ARGV[2])
  return 4
end
local may = admits(ARGV[1])
if type(may) == 'table' and ARGV[5] == 'new' then return may end
local own = may == false and own_reader(ARGV[1])
if own and own > ARGV[2] / 10 + 100 then
  local entry = find(table.concat({ARGV[5], ARGV[2], ARGV[3], ARGV[1]}, ' '))
  if entry then redis.call('LREM', KEYS[2], 1, entry) end
  return -1
end
local expiry, entry, index = enqueue()
if type(expiry) == 'table' then return expiry end
if index and holds_already(ARGV[1]) then
  redis.call('LREM', KEYS[2], 1, entry)
  hold(ARGV[1], ARGV[2])
  return 1
end
local is_in = admit_waiting(ARGV[1])
if is_in then return type(is_in) == 'table' and is_in or 1 end
if not index then return 0 end
return expiry * 8 + (own and 5 or redis.call('LINDEX', KEYS[2], '0') == entry and 3 or 2))";
extern const Sha1 stand_shared_hash;
inline constexpr Script stand_shared_script{
    .text = joined<milliseconds_lua, entry_lua, holders_lua, remove_expired_lua, change_lua,
                   admits_lua, admit_waiting_lua, find_lua, enqueue_lua, stand_shared_lua>,
    .hash = &stand_shared_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"}};

// Arguments and result as of `leave_script`. The entry may have held back entries behind it.
inline constexpr std::string_view leave_shared_lua =
    R"(local left = give_up(ARGV[1])
if left == 0 and ARGV[2] then
  local entry = find(table.concat({ARGV[4], ARGV[2], ARGV[3], ARGV[1]}, ' '))
  left = entry and redis.call('LREM', KEYS[2], 1, entry) or 0
end
pcall(admit_waiting)
return left)";
extern const Sha1 leave_shared_hash;
inline constexpr Script leave_shared_script{
    .text = joined<milliseconds_lua, entry_lua, holders_lua, remove_expired_if_any_lua, change_lua,
                   admits_lua, admit_waiting_lua, find_lua, leave_shared_lua>,
    .hash = &leave_shared_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"},
    .alone = &release_shared_alone_script};

// The time until the first of the holders expires, in milliseconds; -1: there are none.
inline constexpr std::string_view life_shared_lua =
    R"(local first = redis.call('ZRANGE', KEYS[1], '0', '0', 'WITHSCORES')
return first[2] and tonumber(first[2]) - milliseconds() or -1)";
extern const Sha1 life_shared_hash;
inline constexpr Script life_shared_script{.text = joined<milliseconds_lua, life_shared_lua>,
                                           .hash = &life_shared_hash,
                                           .effect = Script::Effect::other};

/// Whether a value begins with an owner tag, as those of several holders do: with a character that
/// no token begins with, or with a number, which is shorter than a token.
inline bool has_owner_tag(std::string_view value) noexcept {
  constexpr std::size_t token_size = 36;
  return value.find_first_of("=rw") == 0 || value.find(' ') < token_size;
}
/// Releases a lock that was granted to an entry, by the script of the class that the value belongs
/// to.
inline Command give_back(std::string_view key, std::string_view value) {
  return Command(has_owner_tag(value) ? leave_shared_script : leave_script, key, value);
}

/// One of several holders of a key. The owner tag says which class of lock it is. The members are
/// those of `Exclusive`, but for `owner_tag`, which each derived class has.
class Shared {
 public:
  static constexpr bool is_passed_on = false;
  static constexpr bool joins_at_once = false;
  static constexpr bool needs_scripts = true;
  static constexpr bool checks_type = true;
  static constexpr bool has_queue = true;
  static constexpr bool has_min_hold = false;

  explicit Shared(std::string key, bool fencing = false)
      : key_(std::move(key)), fencing_(fencing) {}

  const std::string& key() const noexcept { return key_; }

  Command acquire(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing_) return Command(acquire_shared_script, key_, value, ttl);
    return Command(acquire_shared_script, key_, value, ttl, counter_life(ttl));
  }
  Command release(std::string_view value) const {
    return Command(release_shared_script, key_, value);
  }
  Command extend(std::string_view value, std::chrono::milliseconds ttl) const {
    return Command(extend_shared_script, key_, value, ttl);
  }

  Command enqueue(const QueueEntry& entry) const {
    return protocol::enqueue(stand_shared_script, key_, entry);
  }
  Command refresh(const QueueEntry& entry, std::int64_t expiry) const {
    return protocol::refresh(stand_shared_script, key_, entry, expiry);
  }
  Command dequeue(const QueueEntry& entry, std::int64_t expiry) const {
    return protocol::dequeue(leave_shared_script, key_, entry, expiry);
  }
  Command claim(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing_) return extend(value, ttl);
    return Command(claim_shared_script, key_, value, ttl, counter_life(ttl));
  }

  /// Also true for an expired holder that is not removed yet, but then the lock does not ask any
  /// more.
  Command holder(std::string_view value) const {
    return Command(Expect::text_or_nil, "ZSCORE", key_, value);
  }
  static bool holds(const Reply& holder, std::string_view /*value*/) noexcept {
    return holder.kind == Reply::Kind::string;
  }

  Command ask_ttl() const { return Command(life_shared_script, key_); }

  Command type() const { return Command(Expect::status, "TYPE", key_); }
  static bool is_lock(const Reply& type) noexcept {
    return type.kind != Reply::Kind::status || type.text == "zset" || type.text == "none";
  }

 protected:
  static void refuse_fencing(bool fencing, const std::string& what) {
    if (!fencing) return;
    throw Error(
        Errc::unsupported,
        what + " has no fencing token, as its holders have no single order; leave fencing out");
  }

 private:
  std::string key_;
  bool fencing_;
};

}  // namespace redlatch::protocol
