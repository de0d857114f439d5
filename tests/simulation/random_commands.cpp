#include "random_commands.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include <redlatch/protocol/durability.hpp>
#include <redlatch/protocol/exclusive.hpp>
#include <redlatch/protocol/fair.hpp>
#include <redlatch/protocol/majority.hpp>
#include <redlatch/protocol/multi.hpp>
#include <redlatch/protocol/native.hpp>
#include <redlatch/protocol/permit.hpp>
#include <redlatch/protocol/read_write.hpp>
#include <redlatch/protocol/recursive.hpp>
#include <redlatch/protocol/side_key.hpp>
#include <redlatch/protocol/verify.hpp>

#include "net/resp_stream.hpp"

namespace redlatch::test {
namespace {

using protocol::Command;
using std::chrono::milliseconds;

constexpr const char* lock_keys[]{"a", "b", "{t}:1", "{t}:2", "x}y"};
constexpr const char* tokens[]{
    "11111111-aaaa-4aaa-8aaa-111111111111", "22222222-bbbb-4bbb-8bbb-222222222222",
    "33333333-cccc-4ccc-8ccc-333333333333", "44444444-dddd-4ddd-8ddd-444444444444"};
constexpr const char* channels[]{"redlatch:one", "redlatch:two", "redlatch:shard:one"};
constexpr std::int64_t times[]{20, 100, 1000, 3000, 60000, 60000, 90000};

/// Small scripts: conversions, errors, what is refused, the sandbox.
constexpr const char* small_scripts[]{
    "return 3.99",
    "return -3.99",
    "return {1, 2.5, nil, 4}",
    "return {1, {2, 'x'}, false, true}",
    "return {ok = 'fine'}",
    "return {err = 'BAD thing'}",
    "return {err = 'BAD'}",
    "return redis.error_reply('MY error')",
    "return redis.error_reply('MINE')",
    "return redis.error_reply('-MINE too')",
    "return redis.error_reply(1)",
    "return redis.status_reply('hello')",
    "return true",
    "return false",
    "return nil",
    "return ''",
    "return tostring(nil) .. tostring(1 / 3) .. tostring(2 ^ 53)",
    "return #KEYS * 10 + #ARGV",
    "return {KEYS[1], ARGV[1], ARGV[2]}",
    "return redis.call('GET', KEYS[1])",
    "return redis.call('get', KEYS[1] or 'a')",
    "return redis.pcall('LPOP', KEYS[1] or 'a')",
    "return redis.call('LRANGE', KEYS[1] or 'a', 0, -1)",
    "return redis.call('ZRANGE', KEYS[1] or 'a', '0', '-1', 'WITHSCORES')",
    "return redis.call('SET', KEYS[1] or 'a', 'x')",
    "return redis.call('SET', KEYS[1] or 'a', 'x', 'NX')",
    "return redis.call('SET', KEYS[1] or 'a', 17)",
    "return redis.call('SET', KEYS[1] or 'a', 12345678901234.5)",
    "return redis.call('PEXPIRE', KEYS[1] or 'a', 2 ^ 31)",
    "return redis.call('TYPE', KEYS[1] or 'a').ok",
    "return redis.call('TYPE', KEYS[1] or 'a')",
    "return redis.call('PTTL', KEYS[1] or 'a')",
    "return {redis.call('TIME')}",
    "redis.call('SET', KEYS[1] or 'a', '1') return redis.call('INCR', KEYS[1] or 'a')",
    "redis.call('SET', KEYS[1] or 'a', 'x') return redis.call('LPOP', KEYS[1] or 'a')",
    "redis.call('DEL', KEYS[1] or 'a') return redis.call('SET', KEYS[1] or 'a', 'after')",
    "redis.call('GET', KEYS[1] or 'a')\nredis.call('DEL', KEYS[1] or 'a')\nreturn 1",
    "redis.call('SELECT', '1') return redis.call('SET', KEYS[1] or 'a', 'in 1')",
    "return redis.call('PUBLISH', 'redlatch:one', 'hi')",
    "return redis.call('SPUBLISH', 'redlatch:shard:one', 'hi')",
    "return redis.call('PUBSUB', 'NUMSUB', 'redlatch:one')",
    "return redis.call('PUBSUB', 'NO')",
    "return redis.call('NOPE', 'x')",
    "return redis.pcall('NOPE', 'x')",
    "return redis.call('GET')",
    "return redis.call('GET', 'a', 'b')",
    "return redis.call('SUBSCRIBE', 'x')",
    "return redis.pcall('WATCH', 'x')",
    "return redis.call('EVAL', 'return 1', 0)",
    "return redis.call()",
    "return redis.pcall()",
    "return redis.call('GET', {})",
    "return redis.pcall('GET', nil)",
    "return redis.call('SET', 'a', true)",
    "return pcall(redis.call, 'LPOP', KEYS[1] or 'a')",
    "return {pcall(redis.call, 'LPOP', KEYS[1] or 'a')}",
    "return {pcall(redis.call, 'NOPE')}",
    "return {pcall(error, 'boom')}",
    "return {pcall(error, {err = 'A table'})}",
    "return {pcall(error, {})}",
    "local function fails() redis.call('LPOP', KEYS[1] or 'a') end\npcall(fails)\nreturn 7",
    "\n\nerror('boom')",
    "error({err = 'A table'})",
    "error('')",
    "error(nil)",
    "error(true)",
    "local x = nil\nreturn x.y",
    "return 1 + {}",
    "return 'a' < 1",
    "y = 1",
    "return y",
    "return print",
    "return string.rep('x', 20)",
    "return string.format('%.0f', 2 ^ 53)",
    "return math.floor(2.7) + math.max(1, 2)",
    "return select('#', unpack({1, 2, 3}))",
    "return table.concat({'a', 'b'}, ' ')",
    "return ('x'):rep(3)",
    "return redis.sha1hex('')",
    "return redis.sha1hex()",
    "return redis.REPL_ALL + redis.REPL_NONE",
    "redis.set_repl(redis.REPL_NONE) redis.set_repl(redis.REPL_ALL) return 1",
    "return redis.nothing",
    "redis.call = nil",
    "string.x = 1",
    "return type(redis)",
    "this is no script",
    "return (",
    "return 1 -- \xff",
    "return ARGV[1] == 'new' and tonumber(ARGV[2]) or 0"};

}  // namespace

std::string in_resp(std::span<const std::string> words) {
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return bytes;
}
std::string in_resp(std::initializer_list<std::string_view> words) {
  return in_resp(std::vector<std::string>(words.begin(), words.end()));
}

std::size_t RandomCommands::below(std::size_t limit) {
  return static_cast<std::size_t>(random_() % limit);
}

RandomCommands::RandomCommands(std::uint64_t seed, std::vector<std::uint64_t> ids)
    : random_(seed), ids_(std::move(ids)), theme_(Theme::exclusive) {
  if (chance(70)) theme_ = static_cast<Theme>(below(5));
  if (chance(30)) subscribers_ = 2;
  for (int i = 0; i < 2; ++i) {
    keys_.emplace_back(one_of(lock_keys));
    tokens_.emplace_back(one_of(tokens));
  }
}

std::string RandomCommands::any_key() {
  if (chance(60)) return key();
  if (chance(10)) return "missing";
  return protocol::side_key(key(), chance(60) ? "queue" : "fence");
}
std::string RandomCommands::owner_tag() {
  switch (theme_) {
    case Theme::read_write:
      return one_of({"r1-10", "r1-11", "w1-10", "w1-11"});
    case Theme::recursive:
      return one_of({"=t:1-10", "=t:1-11", "=o:me"});
    case Theme::permit:
      return one_of({"1", "2", "2", "3"});
    case Theme::any:
    case Theme::exclusive:
      break;
  }
  return one_of({"r1-10", "w1-10", "=t:1-10", "2"});
}
std::string RandomCommands::channel() { return one_of(channels); }
std::string RandomCommands::ttl() { return std::to_string(one_of(times)); }
std::string RandomCommands::index() {
  constexpr const char* indexes[]{"0", "0", "1", "2", "-1", "-2", "7", "-9", "x", "01", ""};
  return one_of(indexes);
}

std::string RandomCommands::entry() { return "1750000060000 60000 redlatch:one " + token(); }

/// A value that some lock may have, a part of the queue, a counter, or something else.
std::string RandomCommands::value_for_key() {
  switch (below(7)) {
    case 0:
      return token();
    case 1:
      return token() + " a label";
    case 2:
      return owner_tag() + " " + token();
    case 3:
      return entry();
    case 4:
      return "fence " + std::to_string(below(3)) + (chance(50) ? "000000000000000" : "");
    case 5:
      return std::to_string(below(3));
    default:
      return chance(50) ? "" : "some text";
  }
}

std::string RandomCommands::sent(const Command& command) {
  detail::RespStream stream;
  stream.append(command, chance(40) ? detail::ScriptCall::by_hash : detail::ScriptCall::by_text);
  return std::string(stream.output());
}

void RandomCommands::answered(std::string_view reply) {
  constexpr std::int64_t least = 1'000'000'000'000;  // a time in milliseconds
  if (!reply.starts_with(':')) return;
  std::int64_t number = 0;
  std::from_chars(reply.data() + 1, reply.data() + reply.size(), number);
  if (number / 8 > least) expiries_.push_back(number / 8);
}

RandomStep RandomCommands::mode_change() {
  using Mode = RandomStep::Mode;
  RandomStep step{.kind = RandomStep::Kind::set_mode};
  if (is_writable_) {
    constexpr Mode modes[]{Mode::replica, Mode::stale_replica, Mode::without_replicas,
                           Mode::out_of_memory, Mode::no_scripts};
    step.mode = one_of(modes);
  }
  is_writable_ = step.mode == Mode::writable;
  return step;
}

RandomStep RandomCommands::next() {
  if (subscribers_ < 2) {
    const bool is_first = subscribers_++ == 0;
    return {.connection = is_first ? 0U : 1U,
            .bytes = is_first ? in_resp({"SUBSCRIBE", protocol::invalidated, "redlatch:one",
                                         "redlatch:two", "redlatch:shard:one"})
                              : in_resp({"SSUBSCRIBE", "redlatch:shard:one"})};
  }
  if (chance(8)) {
    constexpr std::int64_t passed[]{1, 1, 1, 2, 19, 20, 21, 99, 100, 101, 1000, 3001, 59999, 60001};
    return {.kind = RandomStep::Kind::pass_time, .time = one_of(passed)};
  }
  if (chance(is_writable_ ? 1 : 20)) return mode_change();
  RandomStep step;
  step.connection = chance(15) ? below(2) : 2 + below(ids_.size() - 2);
  if (step.connection < 2 && chance(85)) {
    step.bytes = subscriber_command();
  } else if (step.connection == 2 && chance(70)) {
    step.bytes = transaction_command();
  } else {
    step.bytes = chance(12)   ? connection_command()
                 : chance(25) ? data_command()
                 : chance(12) ? script_command()
                              : library_command();
  }
  return step;
}

std::string RandomCommands::subscriber_command() {
  const std::string name = chance(50) ? std::string(protocol::invalidated) : channel();
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return in_resp({"SUBSCRIBE", name});
    case 4:
      return in_resp({"SUBSCRIBE", name, channel()});
    case 5:
    case 6:
      return in_resp({"SSUBSCRIBE", channel()});
    case 7:
      return in_resp({chance(50) ? "UNSUBSCRIBE" : "SUNSUBSCRIBE", name});
    case 8:
      return in_resp({chance(70) ? "PSUBSCRIBE" : "PUNSUBSCRIBE", "redlatch:*"});
    case 9:
      return chance(50) ? in_resp({"PING"}) : in_resp({"PING", "text"});
    case 10:
      return in_resp({"CLIENT", "ID"});
    default:
      return chance(30) ? in_resp({"QUIT"}) : in_resp({"PING"});
  }
}

/// Asks for notice of the next change of a key.
std::string RandomCommands::tracking(std::string_view name) {
  return sent(protocol::track(static_cast<std::int64_t>(ids_[below(2)]))) +
         sent(protocol::track_next()) + in_resp({"PTTL", name});
}

std::string RandomCommands::transaction_command() {
  const std::string name = key();
  const std::string mine = token();
  const std::string id = std::to_string(ids_[2]);
  switch (below(17)) {
    case 0:
    case 1:
      return in_resp({"WATCH", name});
    case 2:
      return in_resp({"WATCH", name}) + in_resp({"EXISTS", name}) +
             in_resp({"GETRANGE", name, "0", "36"}) + in_resp({"MULTI"});
    case 3:
      return in_resp({"MULTI"});
    case 4:
    case 5:
    case 6:
      return in_resp({"EXEC"});
    case 7:
      return in_resp({chance(50) ? "UNWATCH" : "DISCARD"});
    case 8:
      return sent(protocol::guarded_change(
          protocol::Exclusive(name).extend(mine, milliseconds(one_of(times)))));
    case 9:
      return sent(protocol::guarded_change(
          protocol::Exclusive(name).release_after(mine, milliseconds(one_of(times)))));
    case 10:
      return in_resp({"WATCH", any_key(), any_key()});
    case 11:
      return in_resp({"SET", name, mine, "PX", "20"}) + in_resp({"PEXPIRE", any_key(), "20"});
    case 12:
      return tracking(name) + in_resp({"MULTI"});
    case 13:
      return sent(protocol::track_next()) + in_resp({"MULTI"}) + in_resp({"PTTL", name});
    case 14:
      if (chance(80)) return data_command();
      return in_resp({"MULTI"}) + in_resp({"CLIENT", "KILL", "ID", id, "SKIPME", "no"}) +
             in_resp({"DEL", name}) + in_resp({"EXEC"});
    default:
      return sent(protocol::guarded_change(protocol::Exclusive(name).release(mine)));
  }
}

std::string RandomCommands::connection_command() {
  const std::string id = chance(90) ? std::to_string(ids_[below(ids_.size())]) : index();
  switch (below(22)) {
    case 0:
    case 1:
    case 2:
      return sent(protocol::track(static_cast<std::int64_t>(ids_[below(2)])));
    case 3:
    case 4:
      return tracking(key()) + library_command();
    case 5:
      return tracking(any_key());
    case 6:
      return sent(protocol::track_next()) + sent(protocol::Permit(key(), 2, false).ask_ttl());
    case 7:
      return in_resp({"CLIENT", "CACHING", one_of({"YES", "NO", "?"})});
    case 8:
      return in_resp({"CLIENT", "TRACKING", one_of({"ON", "OFF", "?"}), "REDIRECT", id});
    case 9:
      return in_resp(
          {"CLIENT", "TRACKING", "ON", "REDIRECT", id, one_of({"NOLOOP", "OPTIN", "OPTOUT", "?"})});
    case 10:
    case 11:
      return in_resp({"SELECT", one_of({"0", "1", "0", "1", "99", "x", "-1"})});
    case 12:
      return in_resp({"CLIENT", "KILL", "ID", id});
    case 13:
      return in_resp({"CLIENT", "KILL", "ID", id, "SKIPME", one_of({"yes", "no", "?"})});
    case 14:
      return in_resp({"CLIENT", "SETNAME", one_of({"name", "", "bad name"})}) +
             in_resp({"CLIENT", "GETNAME"});
    case 15:
      return sent(protocol::Replicas(0).ask(milliseconds(100)));
    case 16:
      return chance(50) ? sent(protocol::Disk::ask(milliseconds(100)))
                        : in_resp({"WAIT", index(), "-1"});
    case 17:
      return sent(protocol::ask_abilities());
    case 18:
      return in_resp({"AUTH", one_of({"default", "x"})});
    case 19:
      return in_resp({"AUTH", one_of({"default", "someone"}), "password"});
    case 20:
      return chance(50) ? in_resp({"CLIENT", "ID"}) : in_resp({"ASKING"});
    default:
      return chance(80) ? in_resp({"NOSUCH", "some", "words"})
                        : in_resp({one_of({"CLIENT", "CLIENT", "PUBSUB", "SCRIPT"}), "NOSUCH"});
  }
}

std::string RandomCommands::data_command() {
  switch (below(9)) {
    case 0:
    case 1:
      return string_command();
    case 2:
    case 3:
      return key_command();
    case 4:
    case 5:
      return list_command();
    case 6:
      return sorted_set_command();
    case 7:
      return in_resp({chance(60) ? "PUBLISH" : "SPUBLISH", channel(), token() + "\n" + key()});
    default:
      return chance(10)
                 ? in_resp({chance(50) ? "FLUSHALL" : "FLUSHDB"})
                 : in_resp({"PUBSUB", chance(50) ? "NUMSUB" : "SHARDNUMSUB", channel(), channel()});
  }
}

std::string RandomCommands::string_command() {
  const std::string name = any_key();
  const std::string value = value_for_key();
  switch (below(12)) {
    case 0:
    case 1:
      return in_resp({"SET", name, value, "NX", "PX", ttl()});
    case 2:
      return in_resp({"SET", name, value, "XX", "PX", ttl()});
    case 3:
      return in_resp({"SET", name, value, "KEEPTTL"});
    case 4:
      return in_resp({"SET", name, value, "GET", one_of({"NX", "XX", "KEEPTTL", "GET"})});
    case 5:
      return in_resp({"SET", name, value, one_of({"PX", "EX", "PXAT", "EXAT"}),
                      one_of({"0", "-1", "x", "9223372036854775807", "1750000100000", "5"})});
    case 6:
      return in_resp({"SET", name, value, "PX", ttl(), one_of({"NX", "XX", "EX", "KEEPTTL", "?"}),
                      one_of({"XX", "1", "KEEPTTL"})});
    case 7:
      return in_resp({"GETRANGE", name, index(), index()});
    case 8:
      return in_resp({"INCR", name});
    case 9:
      return chance(50) ? in_resp({"STRLEN", name}) : in_resp({"SET", name});
    default:
      return in_resp({"GET", name});
  }
}

std::string RandomCommands::key_command() {
  const std::string name = any_key();
  switch (below(11)) {
    case 0:
    case 1:
      return in_resp({"PEXPIRE", name, chance(80) ? ttl() : index()});
    case 2:
      return in_resp({"PEXPIRE", name, ttl(), one_of({"NX", "XX", "GT", "LT", "?"})});
    case 3:
      return in_resp(
          {"PEXPIREAT", name, one_of({"1", "1750000100000", "9223372036854775807", "-5", "x"})});
    case 4:
      return in_resp({"EXPIRE", name, one_of({"0", "1", "60", "9223372036854775807", "-1"})});
    case 5:
      return in_resp({"PTTL", name});
    case 6:
      return in_resp({chance(50) ? "TTL" : "PERSIST", name});
    case 7:
      return in_resp({"TYPE", name});
    case 8:
      return in_resp({"EXISTS", name, any_key()});
    case 9:
      return chance(50) ? in_resp({"DBSIZE"}) : in_resp({"TIME"});
    default:
      return in_resp({chance(50) ? "DEL" : "UNLINK", name, any_key()});
  }
}

std::string RandomCommands::list_command() {
  const std::string name = chance(60) ? protocol::side_key(key(), "queue") : any_key();
  const std::string value = chance(60) ? entry() : value_for_key();
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
      return in_resp({chance(70) ? "RPUSH" : "LPUSH", name, value, value_for_key()});
    case 3:
      return in_resp({chance(70) ? "LPOP" : "RPOP", name});
    case 4:
      return in_resp({"LPOP", name, one_of({"0", "1", "2", "9", "-1", "x"})});
    case 5:
      return in_resp({"LINDEX", name, index()});
    case 6:
      return in_resp({"LSET", name, index(), value});
    case 7:
      return in_resp({"LREM", name, index(), value});
    case 8:
      return in_resp({"LRANGE", name, index(), index()});
    case 9:
      return in_resp({"LPOS", name, value});
    case 10:
      return in_resp({"LLEN", name});
    default:
      return in_resp({"LRANGE", name, "0", "-1"});
  }
}

std::string RandomCommands::sorted_set_command() {
  const std::string name = any_key();
  const std::string value = value_for_key();
  constexpr const char* scores[]{"1", "2", "1750000001000", "1750000030000", "2.5", "-inf", "x"};
  switch (below(8)) {
    case 0:
    case 1:
      return in_resp({"ZADD", name, one_of(scores), value});
    case 2:
      return in_resp({"ZADD", name, one_of(scores), value, one_of(scores), value_for_key()});
    case 3:
      return in_resp({"ZREM", name, value, value_for_key()});
    case 4:
      return in_resp({"ZREMRANGEBYSCORE", name, one_of({"-inf", "1", "(1", "x"}),
                      one_of({"+inf", "2", "(2", "1750000001000"})});
    case 5:
      return in_resp({"ZSCORE", name, value});
    case 6:
      return in_resp({"ZCARD", name});
    default:
      return chance(70) ? in_resp({"ZRANGE", name, index(), index(), "WITHSCORES"})
                        : in_resp({"ZRANGE", name, "0", "-1"});
  }
}

std::string RandomCommands::script_command() {
  const std::string script = one_of(small_scripts);
  const std::string sha1(protocol::Sha1(script).digits());
  switch (below(10)) {
    case 0:
      return in_resp({"SCRIPT", "LOAD", script});
    case 1:
      return in_resp({"SCRIPT", "EXISTS", sha1, protocol::release_script.sha1(), "x"});
    case 2:
      return chance(30) ? in_resp({"SCRIPT", "FLUSH"}) : in_resp({"EVALSHA", sha1, "0"});
    case 3:
      return in_resp({"EVAL", script, one_of({"2", "-1", "x", "99"}), key(), key()});
    case 4:
      return in_resp({"EVALSHA", chance(80) ? sha1 : "short", "1", any_key(), "new", "12"});
    default:
      return in_resp({"EVAL", script, "1", any_key(), "new", "12"});
  }
}

template <class Protocol>
std::string RandomCommands::queue_command(const Protocol& lock, const protocol::QueueEntry& entry) {
  const std::int64_t expiry =
      expiries_.empty() || chance(20)
          ? 1'750'000'060'000
          : expiries_[expiries_.size() - 1 - below(std::min<std::size_t>(expiries_.size(), 4))];
  switch (below(4)) {
    case 0:
      return sent(lock.refresh(entry, expiry));
    case 1:
      return sent(lock.dequeue(entry, expiry));
    default:
      return sent(lock.enqueue(entry));
  }
}

template <class Protocol>
std::string RandomCommands::lock_command(const Protocol& lock, const std::string& owner_tag) {
  std::string value = token();
  if (!owner_tag.empty()) value.insert(0, owner_tag + " ");
  if (chance(20)) value += " label";
  const milliseconds time(one_of(times));
  if constexpr (Protocol::has_queue) {
    const std::string to = channel();
    if (chance(40)) return queue_command(lock, {.value = value, .ttl = time, .channel = to});
  }
  if constexpr (Protocol::has_min_hold) {
    if (chance(8)) {
      const auto release = lock.release_after(value, time);
      const auto alone = protocol::without_side_keys(release);
      return alone && chance(50) ? sent(*alone) : sent(release);
    }
  }
  switch (below(9)) {
    case 0:
    case 1:
      return sent(lock.release(value));
    case 2:
      return sent(lock.extend(value, time));
    case 3:
      return sent(lock.claim(value, time));
    case 4:
      return sent(lock.holder(value));
    case 5:
      return chance(50) ? sent(lock.ask_ttl()) : sent(lock.type());
    case 6: {
      const auto alone = protocol::without_side_keys(lock.release(value));
      return sent(alone ? *alone : protocol::give_back(lock.key(), value));
    }
    default:
      return sent(lock.acquire(value, time));
  }
}

std::string RandomCommands::other_lock_command() {
  const std::string name = key();
  const std::string tag = owner_tag();
  const std::string value = tag + " " + token();
  switch (below(4)) {
    case 0:
      return sent(protocol::WriteSide(name).turn_into("w1-10 " + token(), "r1-10 " + token(),
                                                      milliseconds(one_of(times))));
    case 1:
      return sent(protocol::Recursive(name).count(chance(70) ? "=t:1-10" : value));
    case 2:
      return sent(protocol::give_back(name, chance(50) ? value : token()));
    default:
      return sent(Command(protocol::harmless_script, "redlatch"));
  }
}

std::string RandomCommands::exclusive_command() {
  const bool fencing = chance(40);
  switch (below(7)) {
    case 0:
    case 1:
    case 2:
      return lock_command(protocol::Exclusive(key(), fencing), "");
    case 3:
    case 4:
      return lock_command(protocol::Fair(key(), fencing), "");
    case 5: {
      std::vector<std::string> names{keys_.front()};
      if (keys_.front() != keys_.back()) names.push_back(keys_.back());
      if (chance(30)) names.emplace_back("further");
      return lock_command(protocol::Multi(names, fencing), "");
    }
    default:
      return lock_command(protocol::Majority(key(), false), "");
  }
}

std::string RandomCommands::library_command(Theme theme) {
  const bool fencing = chance(40);
  switch (theme) {
    case Theme::read_write:
      return chance(50) ? lock_command(protocol::ReadSide(key(), false), "r" + thread())
                        : lock_command(protocol::WriteSide(key(), fencing), "w" + thread());
    case Theme::recursive:
      return lock_command(protocol::Recursive(key(), fencing), "=t:" + thread());
    case Theme::permit: {
      const std::int64_t limit = chance(90) ? 2 : 1;
      return lock_command(protocol::Permit(key(), limit, false), std::to_string(limit));
    }
    case Theme::any:
    case Theme::exclusive:
      break;
  }
  return exclusive_command();
}

std::string RandomCommands::library_command() {
  if (chance(10)) return other_lock_command();
  const bool is_other = theme_ == Theme::any || chance(10);
  return library_command(is_other ? static_cast<Theme>(1 + below(4)) : theme_);
}

}  // namespace redlatch::test
