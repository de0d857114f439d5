#include "fake_server.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "lua_machine.hpp"
#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using namespace resp;

// What the library recognises, and what a real server of version 7.0 says.
constexpr std::string_view no_login = "NOAUTH Authentication required.";
constexpr std::string_view out_of_memory =
    "OOM command not allowed when used memory > 'maxmemory'.";
constexpr std::string_view read_only = "READONLY You can't write against a read only replica.";
constexpr std::string_view stale =
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
constexpr std::string_view busy =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
constexpr std::string_view no_cluster = "ERR This instance has cluster support disabled";
constexpr std::string_view loading = "LOADING Redis is loading the dataset in memory";
constexpr std::string_view forbidden_meanwhile =
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
    "call. This command is no longer allowed for the following reason: no permission to execute "
    "the command or subcommand";

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
std::uint64_t split_mix(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EB;
  return z ^ (z >> 31U);
}

/// The commands that a client in RESP2 may send while it has subscriptions.
constexpr std::array for_subscribers{"ping",         "subscribe",  "unsubscribe",  "psubscribe",
                                     "punsubscribe", "ssubscribe", "sunsubscribe", "quit"};
/// The commands that are not queued in a transaction.
constexpr std::array never_queued{"exec", "discard", "multi", "watch", "quit"};

template <std::size_t n>
bool is_one_of(const std::array<const char*, n>& names, std::string_view name) {
  return std::ranges::any_of(names, [&](std::string_view one) { return one == name; });
}

}  // namespace

FakeServer::FakeServer(Clock clock, std::uint64_t seed, FakeServerOptions options)
    : clock_(std::move(clock)),
      random_(seed),
      options_(std::move(options)),
      started_(clock_().count()),
      keys_([this](int database, std::string_view key) { key_changed(database, key); }) {
  new_run_id();
}

void FakeServer::new_run_id() {
  constexpr std::string_view digits = "0123456789abcdef";
  run_id_.clear();
  while (run_id_.size() < 40) run_id_ += digits[split_mix(random_) % digits.size()];
}

void FakeServer::restart(bool keeps_data) {
  sessions_.restart();
  scripts_.forget();
  tracking_.forget();
  if (!keeps_data) keys_.clear();
  started_ = clock_().count();
  new_run_id();
}

void FakeServer::copy_data(const FakeServer& other) {
  keys_.set_now(clock_().count());
  for (int database = 0; database < options_.databases; ++database) {
    transactions_.touch_all(database);
  }
  tracking_.invalidate_all();
  keys_.set_databases(other.keys_.databases());
}

void FakeServer::remove_expired() {
  keys_.set_now(clock_().count());
  keys_.remove_expired();
}

std::optional<std::chrono::milliseconds> FakeServer::next_expiry() const {
  const auto next = keys_.next_expiry();
  if (!next) return std::nullopt;
  return std::chrono::milliseconds(*next + 1);
}

void FakeServer::set_role(Role role) {
  role_ = role;
  keys_.keep_expired(is_replica());
}

const FakeKeyspace::Entry* FakeServer::entry(std::string_view key, int database) const {
  const FakeKeyspace::Entry* const found = keys_.peek(database, key);
  return found != nullptr && found->expiry && clock_().count() > *found->expiry ? nullptr : found;
}

bool FakeServer::exists(std::string_view key, int database) const {
  return entry(key, database) != nullptr;
}

std::optional<std::string> FakeServer::value(std::string_view key, int database) const {
  const FakeKeyspace::Entry* const found = entry(key, database);
  const auto* text = found == nullptr ? nullptr : std::get_if<std::string>(&found->value);
  return text == nullptr ? std::nullopt : std::optional(*text);
}

std::vector<FakeServer::Key> FakeServer::keys() const {
  std::vector<Key> all;
  for (const auto& [database, keys] : keys_.databases()) {
    for (const auto& one : keys) {
      if (exists(one.first, database)) all.push_back({database, one.first});
    }
  }
  return all;
}

void FakeServer::receive(Connection connection, std::string_view bytes) {
  Client& client = sessions_.clients().at(connection);
  if (client.is_closed) return;
  for (auto& one : sessions_.clients()) one.second.written = one.second.output.size();
  client.input += bytes;
  run_input(client);
}

void FakeServer::run_input(Client& client) {
  // Commands refer to the text, and one of them may close the client.
  const std::string input = std::exchange(client.input, {});
  std::string_view rest(input);
  while (!client.is_closed && !client.wait) {
    const auto words = sessions_.take_words(client, rest);
    if (!words) break;
    if (!words->empty()) process(client, *words);
  }
  if (!client.is_closed) client.input = rest;
}

const CommandKind* FakeServer::find(Words words) const {
  const CommandKind* const kind = find_command(words);
  return kind != nullptr && kind->name == "waitaof" && !options_.on_disk ? nullptr : kind;
}

bool FakeServer::is_forbidden(const CommandKind& kind) const {
  const bool is_scripting = kind.name.starts_with("eval") || kind.name.starts_with("script|");
  return is_scripting && !options_.allows_scripts;
}

std::optional<std::string> FakeServer::redirection(const Client& client, const CommandKind& kind,
                                                   Words words) const {
  if (cluster_ == nullptr) return std::nullopt;
  const Words keys = kind.keys_in(words);
  FakeClusterNode::Command command{
      .keys = {keys.begin(), keys.end()},
      .is_asking = client.is_asking,
      .is_about_channels = kind.is(CommandKind::pubsub),
      .has = [&](std::string_view key) { return keys_.peek(0, key) != nullptr; }};
  if (kind.name == "exec") {
    for (const auto& queued : client.transaction.queued) {
      const std::vector<std::string_view> its(queued.begin(), queued.end());
      for (const std::string_view key : find(its)->keys_in(its)) command.keys.push_back(key);
    }
  }
  return cluster_->refusal(command);
}

/// What the client may not do at all.
std::optional<std::string> FakeServer::denial(const Client& client, const CommandKind& kind) const {
  if (sessions_.needs_login(client) && !kind.is(CommandKind::without_login)) {
    return std::string(no_login);
  }
  if (!is_forbidden(kind)) return std::nullopt;
  return "NOPERM this user has no permissions to run the '" + std::string(kind.name) + "' command";
}

/// Why a command is not run that the client may run, in the order in which Redis looks.
std::optional<std::string> FakeServer::refusal(const Client& client,
                                               const CommandKind& kind) const {
  const FakeClient::Transaction& transaction = client.transaction;
  const bool is_exec = kind.name == "exec";
  const auto does = [&](unsigned flag) {
    return kind.is(flag) || (is_exec && (transaction.flags & flag) != 0);
  };
  const bool is_queued = transaction.is_open && !is_exec && kind.name != "discard" &&
                         kind.name != "quit";  // what is queued takes memory
  if (is_full_ && (is_queued || does(CommandKind::needs_memory))) return std::string(out_of_memory);
  if (does(CommandKind::write)) {
    if (!is_replica() && !write_refusal_.empty()) return write_refusal_;
    if (is_replica()) return std::string(read_only);
  }
  if (client.channels.any() && !is_one_of(for_subscribers, kind.name)) {
    return "ERR Can't execute '" + std::string(kind.name) +
           "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this "
           "context";
  }
  const auto runs_while = [&](unsigned flag) {
    return kind.is(flag) && (!is_exec || (transaction.common_flags & flag) != 0);
  };
  if (role_ == Role::stale_replica && !runs_while(CommandKind::while_stale)) {
    return std::string(stale);
  }
  if (is_loading_ && !runs_while(CommandKind::while_loading)) return std::string(loading);
  if (is_busy_ && !kind.is(CommandKind::while_busy)) return std::string(busy);
  return std::nullopt;
}

void FakeServer::refuse(Client& client, const CommandKind* kind, std::string_view error) {
  if (kind != nullptr && kind->name == "exec") {
    client.transaction = {};
    if (error.starts_with("ERR ")) error.remove_prefix(4);
    append_error(client.output,
                 "EXECABORT Transaction discarded because of: " + std::string(error));
    return;
  }
  client.transaction.is_refused |= client.transaction.is_open;
  append_error(client.output, error);
}

void FakeServer::process(Client& client, Words words) {
  keys_.set_now(clock_().count());
  ++commands_;
  tracking_.set_running(&client);
  const CommandKind* const kind = find(words);
  if (kind == nullptr) {
    refuse(client, kind, resp::one_line(unknown_command(words)));
  } else if (!kind->takes(words.size())) {
    refuse(client, kind,
           "ERR wrong number of arguments for '" + std::string(kind->name) + "' command");
  } else if (const auto no = denial(client, *kind)) {
    refuse(client, kind, *no);
  } else if (const auto elsewhere = redirection(client, *kind, words)) {
    if (kind->name == "exec") client.transaction = {};
    client.transaction.is_refused |= client.transaction.is_open;
    append_error(client.output, *elsewhere);
  } else if (const auto error = refusal(client, *kind)) {
    refuse(client, kind, *error);
  } else if (client.transaction.is_open && !is_one_of(never_queued, kind->name)) {
    transactions_.queue(client, *kind, words);
  } else {
    run(client, *kind, words);
  }
  const bool keeps_caching = kind != nullptr && kind->name.starts_with("client|");
  if (!client.transaction.is_open && !keeps_caching) client.tracking.caching = false;
  tracking_.set_running(nullptr);
  const bool was_asking = kind != nullptr && kind->name == "asking";
  if (!client.transaction.is_open && !was_asking) client.is_asking = false;
  client.writes = writes_.send();
  if (client.ends) sessions_.close(client);
}

void FakeServer::change(const FakeReplicas::Changes& changes) {
  keys_.set_now(clock_().count());
  for (const FakeKeyspace::Change& one : changes) {
    keys_.set(one);
    key_changed(one.database, one.key);
  }
  writes_.send();
}

void FakeServer::apply(const FakeReplicas::Changes& changes) {
  FakeReplicas* const replicas = writes_.set_replicas(nullptr);
  change(changes);
  writes_.set_replicas(replicas);
}

void FakeServer::answer_waits() {
  keys_.set_now(clock_().count());
  for (auto& one : sessions_.clients()) {
    Client& client = one.second;
    if (!client.is_closed && client.wait && writes_.answer(client)) run_input(client);
  }
}

void FakeServer::end_waits() {
  for (auto& one : sessions_.clients()) {
    if (!one.second.wait) continue;
    append_error(one.second.output,
                 "UNBLOCKED force unblock from blocking operation, instance state changed (master "
                 "-> replica?)");
    sessions_.close(one.second);
  }
}

void FakeServer::slots_moved(const std::function<bool(std::size_t slot)>& is_moved) {
  messages_.end_shard_channels(
      [&](std::string_view channel) { return is_moved(protocol::slot_of(channel)); });
}

void FakeServer::close_clients() {
  for (auto& one : sessions_.clients()) sessions_.close(one.second);
}

void FakeServer::run(Client& client, const CommandKind& kind, Words words) {
  ++depth_;
  if (kind.run != nullptr) {
    DataCall call{keys_, client.database, words, client.output};
    kind.run(call);
  } else {
    own_command(kind.name).run(*this, client, words);
  }
  --depth_;
  if (kind.is(CommandKind::readonly)) tracking_.remember(client, keys_of(kind, words));
  if (depth_ == 0) tracking_.send_pending();
}

void FakeServer::key_changed(int database, std::string_view key) {
  writes_.note(database, key);
  transactions_.touch(database, key);
  tracking_.invalidate(key);
}

/// What a script reads are all of its keys.
Words FakeServer::keys_of(const CommandKind& kind, Words words) const {
  return script_ != nullptr ? script_->keys : kind.keys_in(words);
}

void FakeServer::flush_database(Client& client, Words) {
  clear(client.database);
  tracking_.invalidate_all();
  append_ok(client.output);
}

void FakeServer::flush_all(Client& client, Words) {
  for (int database = 0; database < options_.databases; ++database) clear(database);
  tracking_.invalidate_all();
  append_ok(client.output);
}

void FakeServer::clear(int database) {
  writes_.note_all(database);
  transactions_.touch_all(database);
  keys_.clear(database);
}

void FakeServer::asking(Client& client, Words) {
  if (cluster_ == nullptr) return append_error(client.output, no_cluster);
  client.is_asking = true;
  append_ok(client.output);
}

void FakeServer::cluster_slots(Client& client, Words) {
  if (cluster_ == nullptr) return append_error(client.output, no_cluster);
  cluster_->append_slots(client.output);
}

void FakeServer::cluster_nodes(Client& client, Words) {
  if (cluster_ == nullptr) return append_error(client.output, no_cluster);
  cluster_->append_nodes(client.output);
}

/// Of the settings that there are, one.
void FakeServer::get_config(Client& client, Words words) {
  constexpr std::string_view name = "cluster-node-timeout";
  constexpr std::chrono::milliseconds usual{15000};
  if (words.size() != 3 || !is_word(words[2], name)) return append_array(client.output, 0);
  append_array(client.output, 2);
  append_bulk(client.output, name);
  append_bulk(client.output,
              std::to_string((cluster_ == nullptr ? usual : cluster_->node_timeout()).count()));
}

void FakeServer::role(Client& client, Words) {
  if (!is_replica()) {
    append_array(client.output, 3);
    append_bulk(client.output, "master");
    append_integer(client.output, 0);
    return append_array(client.output, 0);
  }
  append_array(client.output, 5);
  append_bulk(client.output, "slave");
  append_bulk(client.output, "127.0.0.1");
  append_integer(client.output, 1);
  append_bulk(client.output, "connect");
  append_integer(client.output, -1);
}

void FakeServer::info(Client& client, Words) {
  append_bulk(client.output, "# Server\r\nredis_version:" + options_.version +
                                 "\r\nrun_id:" + run_id_ + "\r\nuptime_in_seconds:" +
                                 std::to_string((keys_.now() - started_) / 1000) + "\r\n");
}

/// As of a server that has none of the commands that are asked for.
void FakeServer::command_info(Client& client, Words words) {
  append_array(client.output, words.size() - 2);
  for (std::size_t i = 2; i < words.size(); ++i) append_nil(client.output);
}

void FakeServer::exec(Client& client, Words) {
  const auto commands = transactions_.begin_execution(client);
  if (!commands) return;
  append_array(client.output, commands->size());
  client.is_executing = true;
  std::optional<std::size_t> end;  // of the output of a client that kills itself
  for (const auto& command : *commands) {
    const std::vector<std::string_view> words(command.begin(), command.end());
    const CommandKind& kind = *find(words);
    if (is_forbidden(kind)) {
      append_error(client.output, forbidden_meanwhile);
    } else {
      run(client, kind, words);
    }
    if (client.ends && !end) end = client.output.size();
  }
  if (end) client.output.resize(*end);
  client.is_executing = false;
  client.transaction = {};
}

void FakeServer::wait(Client& client, Words words) {
  std::string& out = client.output;
  if (is_replica()) {
    return append_error(out,
                        "ERR WAIT cannot be used with replica instances. Please also note that "
                        "since Redis 4.0 if a replica is configured to be writable (which is not "
                        "the default) writes to replicas are just local and are not propagated.");
  }
  const auto wanted = integer_in(words[1]);
  if (!wanted) return append_error(out, resp::no_integer);
  const auto timeout = integer_in(words[2]);
  if (!timeout) return append_error(out, "ERR timeout is not an integer or out of range");
  if (*timeout < 0) return append_error(out, "ERR timeout is negative");
  if (!writes_.has_replicas()) return append_integer(out, options_.replicas);
  writes_.wait(client, *wanted, *timeout);
}

void FakeServer::wait_for_disk(Client& client, Words) {
  append_array(client.output, 2);
  append_integer(client.output, options_.on_disk.value_or(0));
  append_integer(client.output, options_.replicas);
}

// Scripts.

void FakeServer::eval(Client& client, Words words) { run_script(client, words, false); }
void FakeServer::eval_by_hash(Client& client, Words words) { run_script(client, words, true); }

void FakeServer::run_script(Client& client, Words words, bool by_hash) {
  const auto call = scripts_.take_call(client.output, words, by_hash);
  if (!call) return;
  if (role_ == Role::stale_replica) return append_error(client.output, stale);
  ScriptRun script{.keys = call->keys, .database = client.database};
  script_ = &script;
  std::string reply;
  LuaMachine::of_this_process().run(
      call->sha1, call->keys, call->arguments,
      [&](Words command, std::string& out) { run_in_script(client, command, out); }, reply);
  script_ = nullptr;
  client.output += reply;
}

/// Why a script may not run a command, in the order in which Redis looks. What has begun to write
/// may go on.
std::optional<std::string_view> FakeServer::refusal_in_script(const CommandKind* kind,
                                                              Words words) const {
  if (kind == nullptr) return "ERR Unknown Redis command called from script";
  if (!kind->takes(words.size())) {
    return "ERR Wrong number of args calling Redis command from script";
  }
  if (kind->is(CommandKind::not_in_scripts)) {
    return "ERR This Redis command is not allowed from script";
  }
  if (script_->has_written) return std::nullopt;
  if (is_replica() && kind->is(CommandKind::write)) return read_only;
  if (!write_refusal_.empty() && kind->is(CommandKind::write)) return write_refusal_;
  if (is_full_ && kind->is(CommandKind::needs_memory)) return out_of_memory;
  return std::nullopt;
}

void FakeServer::run_in_script(Client& client, Words words, std::string& out) {
  const CommandKind* const kind = find(words);
  if (const auto error = refusal_in_script(kind, words)) return append_error(out, *error);
  script_->has_written |= kind->is(CommandKind::write);
  // The script is like a client of its own, but for what it tracks.
  std::swap(client.output, out);
  std::swap(client.database, script_->database);
  run(client, *kind, words);
  std::swap(client.database, script_->database);
  std::swap(client.output, out);
}

/// Commands that a part of the server runs, and those that it runs itself.
template <auto part, auto command>
void FakeServer::by(FakeServer& server, Client& client, Words words) {
  ((server.*part).*command)(client, words);
}
template <auto command>
void FakeServer::own(FakeServer& server, Client& client, Words words) {
  (server.*command)(client, words);
}

const FakeServer::Own& FakeServer::own_command(std::string_view name) {
  static constexpr std::array all{
      Own{"flushdb", own<&FakeServer::flush_database>},
      Own{"flushall", own<&FakeServer::flush_all>},
      Own{"select", by<&FakeServer::sessions_, &FakeSessions::select>},
      Own{"ping", by<&FakeServer::sessions_, &FakeSessions::ping>},
      Own{"quit", by<&FakeServer::sessions_, &FakeSessions::quit>},
      Own{"auth", by<&FakeServer::sessions_, &FakeSessions::auth>},
      Own{"asking", own<&FakeServer::asking>},
      Own{"cluster|slots", own<&FakeServer::cluster_slots>},
      Own{"cluster|nodes", own<&FakeServer::cluster_nodes>},
      Own{"config|get", own<&FakeServer::get_config>},
      Own{"role", own<&FakeServer::role>},
      Own{"info", own<&FakeServer::info>},
      Own{"command|info", own<&FakeServer::command_info>},
      Own{"client|id", by<&FakeServer::sessions_, &FakeSessions::get_id>},
      Own{"client|setname", by<&FakeServer::sessions_, &FakeSessions::set_name>},
      Own{"client|getname", by<&FakeServer::sessions_, &FakeSessions::get_name>},
      Own{"client|tracking", by<&FakeServer::tracking_, &FakeTracking::track>},
      Own{"client|caching", by<&FakeServer::tracking_, &FakeTracking::caching>},
      Own{"client|kill", by<&FakeServer::sessions_, &FakeSessions::kill>},
      Own{"multi", by<&FakeServer::transactions_, &FakeTransactions::multi>},
      Own{"exec", own<&FakeServer::exec>},
      Own{"discard", by<&FakeServer::transactions_, &FakeTransactions::discard>},
      Own{"watch", by<&FakeServer::transactions_, &FakeTransactions::watch>},
      Own{"unwatch", by<&FakeServer::transactions_, &FakeTransactions::unwatch>},
      Own{"publish", by<&FakeServer::messages_, &FakeMessages::publish>},
      Own{"spublish", by<&FakeServer::messages_, &FakeMessages::shard_publish>},
      Own{"subscribe", by<&FakeServer::messages_, &FakeMessages::subscribe>},
      Own{"unsubscribe", by<&FakeServer::messages_, &FakeMessages::unsubscribe>},
      Own{"psubscribe", by<&FakeServer::messages_, &FakeMessages::subscribe_pattern>},
      Own{"punsubscribe", by<&FakeServer::messages_, &FakeMessages::unsubscribe_pattern>},
      Own{"ssubscribe", by<&FakeServer::messages_, &FakeMessages::shard_subscribe>},
      Own{"sunsubscribe", by<&FakeServer::messages_, &FakeMessages::shard_unsubscribe>},
      Own{"pubsub|numsub", by<&FakeServer::messages_, &FakeMessages::count_subscribers>},
      Own{"pubsub|shardnumsub", by<&FakeServer::messages_, &FakeMessages::count_shard_subscribers>},
      Own{"pubsub|numpat", by<&FakeServer::messages_, &FakeMessages::count_patterns>},
      Own{"wait", own<&FakeServer::wait>},
      Own{"waitaof", own<&FakeServer::wait_for_disk>},
      Own{"eval", own<&FakeServer::eval>},
      Own{"evalsha", own<&FakeServer::eval_by_hash>},
      Own{"script|load", by<&FakeServer::scripts_, &FakeScripts::load>},
      Own{"script|exists", by<&FakeServer::scripts_, &FakeScripts::know>},
      Own{"script|flush", by<&FakeServer::scripts_, &FakeScripts::flush>}};
  const auto found = std::ranges::find(all, name, &Own::name);
  assert(found != all.end());
  return *found;
}

}  // namespace redlatch::test
