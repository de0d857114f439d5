#pragma once

#include <chrono>
#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/fencing.hpp>
#include <redlatch/protocol/packed.hpp>
#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/reply.hpp>
#include <redlatch/protocol/verify.hpp>

/// Locks of several keys at once, which all have the same value.
namespace redlatch::protocol {

// `step` is the number of keys of each lock: with its queue, and with its counter if it has one.
inline constexpr std::string_view with_queue_lua = "local step = 2\n";
inline constexpr std::string_view with_queue_and_counter_lua = "local step = 3\n";

// Mostly neither the locks nor their queues exist, which one command for each lock finds out. The
// pieces from here to `unless_free_lua` are for the other case, and for a user who may not run
// EXISTS. `all` are the keys of the script; the names of the locks that are looked at are in a
// table that is named KEYS for the reason in queue.hpp.
inline constexpr std::string_view if_any_exists_lua = R"(local all, KEYS = KEYS, {}
local none_exists = true
for i = 1, #all, step do
  KEYS[1], KEYS[2] = all[i], all[i + 1]
  none_exists = none_exists and redis.pcall('EXISTS', KEYS[1], KEYS[2]) == 0
end
if not none_exists then
)";

// Whether all locks are free; an error that names a key of another type. A lock whose lease has
// expired is granted to the first waiter in its queue, if there is one.
inline constexpr std::string_view all_free_lua = R"(local function all_free()
  local free = true
  for i = 1, #all, step do
    KEYS[1], KEYS[2] = all[i], all[i + 1]
    local kind = redis.call('TYPE', KEYS[1]).ok
    if kind == 'string' then
      free = false
    elseif kind ~= 'none' then
      local name = string.gsub(KEYS[1], '[^%w:._/{}-]', '?')
      return redis.error_reply('NOLOCK ' .. name .. ' is a ' .. kind)
    elseif read_entry(redis.pcall('LINDEX', KEYS[2], '0')) then
      if type(serve(KEYS)) == 'string' then free = false end
    end
  end
  return free
end
)";
inline constexpr std::string_view unless_free_lua = R"(local free = all_free()
if free ~= true then return free or 0 end
end
)";

// KEYS the locks, each with its queue behind it, ARGV[1] the value, ARGV[2] the ttl. 1: acquired;
// 0: one of them is held elsewhere.
inline constexpr std::string_view acquire_all_lua = R"(for i = 1, #all, step do
  KEYS[1] = all[i]
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1)";
extern const Sha1 acquire_all_hash;
inline constexpr Script acquire_all_script{
    .text = joined<with_queue_lua, if_any_exists_lua, milliseconds_lua, entry_lua, serve_lua,
                   all_free_lua, unless_free_lua, acquire_all_lua>,
    .hash = &acquire_all_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"},
    .takes_more = true};

// KEYS the locks, each with its queue and its counter behind it, ARGV[3] the counters' ttl. The
// fencing token, which is larger than all that were drawn for any of them, or 0.
inline constexpr std::string_view acquire_all_fenced_lua = R"(local token = 0
for i = 3, #all, step do
  KEYS[1] = all[i]
  local drawn = draw(KEYS, ARGV[3])
  if type(drawn) ~= 'number' then return drawn end
  token = math.max(token, drawn)
end
for i = 1, #all, step do
  KEYS[1], KEYS[2] = all[i], all[i + 2]
  redis.call('SET', KEYS[2], string.format('fence %.0f', token), 'PX', ARGV[3])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return token)";
extern const Sha1 acquire_all_fenced_hash;
inline constexpr Script acquire_all_fenced_script{
    .text = joined<with_queue_and_counter_lua, if_any_exists_lua, milliseconds_lua, entry_lua,
                   serve_lua, all_free_lua, unless_free_lua, draw_lua, acquire_all_fenced_lua>,
    .hash = &acquire_all_fenced_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue", "fence"},
    .takes_more = true};

// KEYS the locks, ARGV[1] the value, ARGV[2] the ttl. 1: extended; 0: one of them is not ours any
// more. An absent key is written to as well, for the reason that `release_script` has.
inline constexpr std::string_view extend_all_lua = R"(local all, KEYS = KEYS, {}
for i = 1, #all do
  KEYS[1] = all[i]
  local holder = redis.call('GET', KEYS[1])
  if not holder then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  if holder ~= ARGV[1] then return 0 end
end
for i = 1, #all do
  KEYS[1] = all[i]
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1)";
extern const Sha1 extend_all_hash;
inline constexpr Script extend_all_script{.text = extend_all_lua,
                                          .hash = &extend_all_hash,
                                          .effect = Script::Effect::other,
                                          .takes_more = true};

// KEYS the locks, each with its queue behind it, ARGV[1] the value. 1: all of them were ours, and
// are released; 0, or an error: only some were, and these are released. Mostly there are no
// waiters, and the first part is all that runs.
inline constexpr std::string_view release_all_lua = R"(local all, KEYS = KEYS, {}
local outcome, entries = 1, {}
for i = 1, #all, 2 do
  KEYS[1], KEYS[2] = all[i], all[i + 1]
  local holder = redis.pcall('GET', KEYS[1])
  if not holder or holder == ARGV[1] then
    local first = redis.pcall('LINDEX', KEYS[2], '0')
    if type(first) == 'string' then
      entries[i], entries.any = first, true
    else
      redis.call('DEL', KEYS[1])
    end
  end
  if type(holder) == 'table' then
    outcome = holder
  elseif holder ~= ARGV[1] and outcome == 1 then
    outcome = 0
  end
end
if not entries.any then return outcome end
)";
inline constexpr std::string_view release_all_to_first_lua = R"(for i = 1, #all, 2 do
  if entries[i] then
    KEYS[1], KEYS[2] = all[i], all[i + 1]
    serve(KEYS, nil, entries[i])
  end
end
return outcome)";
extern const Sha1 release_all_hash;
inline constexpr Script release_all_script{
    .text =
        joined<release_all_lua, milliseconds_lua, entry_lua, serve_lua, release_all_to_first_lua>,
    .hash = &release_all_hash,
    .effect = Script::Effect::other,
    .side_keys = {"queue"},
    .takes_more = true};

// The time until the last of the locks expires, in milliseconds; -1: they are free, or do not
// expire.
extern const Sha1 life_all_hash;
inline constexpr Script life_all_script{.text = R"(local longest = -1
for _, key in ipairs(KEYS) do
  local KEYS = {key}
  longest = math.max(longest, redis.call('PTTL', KEYS[1]))
end
return longest)",
                                        .hash = &life_all_hash,
                                        .effect = Script::Effect::other,
                                        .takes_more = true};

/// A lock of several keys, acquired, extended and released in one step.
class Multi : public Exclusive {
 public:
  static constexpr bool is_passed_on = false;
  static constexpr bool needs_scripts = true;
  static constexpr bool checks_type = true;
  static constexpr bool has_queue = false;
  static constexpr bool has_min_hold = false;

  static constexpr std::size_t max_keys = 256;

  Multi(const std::vector<std::string>& keys, bool fencing)
      : Exclusive(first_of(keys), fencing), more_(packed(std::span(keys).subspan(1))) {}

  Command acquire(std::string_view value, std::chrono::milliseconds ttl) const {
    if (!fencing()) return Command(acquire_all_script, key(), value, ttl, more_);
    return Command(acquire_all_fenced_script, key(), value, ttl, counter_life(ttl), more_);
  }
  Command release(std::string_view value) const {
    return Command(release_all_script, key(), value, more_);
  }
  Command extend(std::string_view value, std::chrono::milliseconds ttl) const {
    return Command(extend_all_script, key(), value, ttl, more_);
  }
  Command holder(std::string_view value) const {
    return Command(verify_script, key(), value, more_);
  }
  static bool holds(const Reply& holder, std::string_view /*value*/) noexcept {
    return vote(holder) == Vote::yes;
  }
  Command ask_ttl() const { return Command(life_all_script, key(), more_); }

 private:
  static void require(bool good, const std::string& what) {
    if (!good) throw Error(Errc::invalid_argument, what);
  }
  /// The first of the keys, which are checked here.
  static std::string first_of(const std::vector<std::string>& keys) {
    require(!keys.empty(), "there are no keys to lock; name at least one");
    require(keys.size() <= max_keys, "there are " + std::to_string(keys.size()) +
                                         " keys to lock at once; name at most " +
                                         std::to_string(max_keys));
    std::set<std::string_view> names;
    for (const std::string& key : keys) {
      require(!key.empty(), "one of the keys to lock is empty; give it a name");
      require(names.insert(key).second,
              "the key \"" + printable(key) + "\" is named twice; name each once");
    }
    return keys.front();
  }

  std::string more_;
};

}  // namespace redlatch::protocol
