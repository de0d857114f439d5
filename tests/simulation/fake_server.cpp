#include "fake_server.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "lua_machine.hpp"
#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using resp::append_array;
using resp::append_bulk;
using resp::append_error;
using resp::append_integer;
using resp::append_nil;
using resp::append_ok;

// What the library recognises, and what a real server of version 7.0 says.
constexpr std::string_view no_login = "NOAUTH Authentication required.";
constexpr std::string_view out_of_memory =
    "OOM command not allowed when used memory > 'maxmemory'.";
constexpr std::string_view read_only = "READONLY You can't write against a read only replica.";
constexpr std::string_view stale =
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
constexpr std::string_view busy =
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
constexpr std::string_view loading = "LOADING Redis is loading the dataset in memory";
constexpr std::string_view no_script = "NOSCRIPT No matching script. Please use EVAL.";
constexpr std::string_view forbidden_meanwhile =
    "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
    "call. This command is no longer allowed for the following reason: no permission to execute "
    "the command or subcommand";
constexpr std::string_view invalidated = "__redis__:invalidate";

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014.
std::uint64_t split_mix(std::uint64_t& state) {
  state += 0x9E3779B97F4A7C15;
  std::uint64_t z = state;
  z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9;
  z = (z ^ (z >> 27U)) * 0x94D049BB133111EB;
  return z ^ (z >> 31U);
}

std::string one_line(std::string text) {
  std::ranges::replace(text, '\r', ' ');
  std::ranges::replace(text, '\n', ' ');
  return text;
}

/// A pattern with * and ?, as those of PSUBSCRIBE. It has no classes of characters.
bool matches(std::string_view pattern, std::string_view text) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '*') {
    return matches(pattern.substr(1), text) || (!text.empty() && matches(pattern, text.substr(1)));
  }
  return !text.empty() && (pattern.front() == '?' || pattern.front() == text.front()) &&
         matches(pattern.substr(1), text.substr(1));
}

/// What a server says of a command that it does not know.
std::string unknown(Words words) {
  if (has_subcommands(words[0])) {
    if (words.size() == 1) {
      return "ERR wrong number of arguments for '" + lower(words[0]) + "' command";
    }
    std::string name(words[0]);
    std::ranges::transform(name, name.begin(), [](char c) {
      return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    });
    return "ERR unknown subcommand '" + std::string(words[1].substr(0, 128)) + "'. Try " + name +
           " HELP.";
  }
  constexpr std::size_t limit = 128;
  std::string arguments;
  for (std::size_t i = 1; i < words.size() && arguments.size() < limit; ++i) {
    arguments += '\'';
    arguments += words[i].substr(0, limit - arguments.size() + 1);
    arguments += "' ";
  }
  return "ERR unknown command '" + std::string(words[0].substr(0, limit)) +
         "', with args beginning with: " + arguments;
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

void append_message(std::string& out, std::string_view kind, std::string_view channel,
                    std::string_view text) {
  append_array(out, 3);
  append_bulk(out, kind);
  append_bulk(out, channel);
  append_bulk(out, text);
}

/// What is said of each change of a client's subscriptions. Null: there was none to end.
void append_change(std::string& out, std::string_view verb, const std::string_view* channel,
                   std::size_t count) {
  append_array(out, 3);
  append_bulk(out, verb);
  if (channel != nullptr) {
    append_bulk(out, *channel);
  } else {
    append_nil(out);
  }
  append_integer(out, static_cast<std::int64_t>(count));
}

}  // namespace

FakeServer::FakeServer(Clock clock, std::uint64_t seed, FakeServerOptions options)
    : clock_(std::move(clock)),
      random_(seed),
      options_(std::move(options)),
      started_(clock_().count()),
      keys_([this](int database, std::string_view key) { key_changed(database, key); }),
      next_client_(options_.first_client) {
  new_run_id();
}

void FakeServer::new_run_id() {
  constexpr std::string_view digits = "0123456789abcdef";
  run_id_.clear();
  while (run_id_.size() < 40) run_id_ += digits[split_mix(random_) % digits.size()];
}

FakeServer::Connection FakeServer::connect() {
  const auto is_open = [](const auto& one) { return !one.second.is_closed; };
  const auto open = static_cast<std::size_t>(std::ranges::count_if(clients_, is_open));
  Client& client = clients_[next_connection_];
  client.is_logged_in = options_.password.empty();
  if (open < options_.max_clients) {
    client.id = next_client_++;
  } else {
    append_error(client.output, "ERR max number of clients reached");
    close(client);
  }
  return next_connection_++;
}

std::string FakeServer::take_output(Connection connection) {
  return std::exchange(clients_.at(connection).output, {});
}

bool FakeServer::is_closed(Connection connection) const {
  return clients_.at(connection).is_closed;
}

void FakeServer::disconnect(Connection connection) { clients_.erase(connection); }

std::vector<FakeServer::Connection> FakeServer::with_output() const {
  std::vector<Connection> all;
  for (const auto& [connection, client] : clients_) {
    if (!client.output.empty()) all.push_back(connection);
  }
  return all;
}

void FakeServer::close(Client& client) {
  client.is_closed = true;
  client.input.clear();
  client.channels = {};
  client.tracking = {};
  client.transaction = {};
}

void FakeServer::restart(bool keeps_data) {
  for (auto& one : clients_) {
    close(one.second);
    one.second.output.clear();
  }
  scripts_.clear();
  tracked_.clear();
  if (!keeps_data) keys_.clear();
  next_client_ = options_.first_client;
  started_ = clock_().count();
  new_run_id();
}

void FakeServer::copy_data(const FakeServer& other) {
  keys_.set_now(clock_().count());
  for (int database = 0; database < options_.databases; ++database) touch_all_watchers(database);
  invalidate_all();
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

std::size_t FakeServer::subscribers(std::string_view channel) const {
  return static_cast<std::size_t>(std::ranges::count_if(clients_, [&](const auto& one) {
    return one.second.channels.plain.contains(channel) ||
           one.second.channels.of_shard.contains(channel);
  }));
}

bool FakeServer::needs_login(const Client& client) const {
  return !options_.password.empty() && !client.is_logged_in;
}

// Redis: the protocol specification, and the limits of clients that have not logged in.
std::optional<std::vector<std::string_view>> FakeServer::take_words(Client& client,
                                                                    std::string_view& rest) {
  const auto fail = [&](std::string_view problem) {
    append_error(client.output, "ERR Protocol error: " + std::string(problem));
    close(client);
    return std::nullopt;
  };
  std::string_view left = rest;
  const auto take_line = [&]() -> std::optional<std::string_view> {
    const std::size_t end = left.find("\r\n");
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = left.substr(0, end);
    left.remove_prefix(end + 2);
    return line;
  };
  const auto head = take_line();
  if (!head) return std::nullopt;
  const auto size = head->starts_with('*') ? integer_in(head->substr(1)) : std::nullopt;
  constexpr std::int64_t max_words = 1 << 30;
  if (!size || *size > max_words) return fail("invalid multibulk length");
  if (*size > 10 && needs_login(client)) return fail("unauthenticated multibulk length");
  std::vector<std::string_view> words;
  for (std::int64_t i = 0; i < *size; ++i) {
    const auto line = take_line();
    if (!line) return std::nullopt;
    if (!line->starts_with('$')) {
      return fail("expected '$', got '" + std::string(line->substr(0, 1)) + "'");
    }
    const auto length = integer_in(line->substr(1));
    if (!length || *length < 0) return fail("invalid bulk length");
    if (*length > 16384 && needs_login(client)) return fail("unauthenticated bulk length");
    const auto bytes = static_cast<std::size_t>(*length);
    if (left.size() < bytes + 2) return std::nullopt;
    words.push_back(left.substr(0, bytes));
    left.remove_prefix(bytes + 2);
  }
  rest = left;
  return words;
}

void FakeServer::receive(Connection connection, std::string_view bytes) {
  Client& client = clients_.at(connection);
  if (client.is_closed) return;
  for (auto& one : clients_) one.second.written = one.second.output.size();
  // Commands refer to the text, and one of them may close the client.
  std::string input = std::exchange(client.input, {});
  input += bytes;
  std::string_view rest(input);
  while (!client.is_closed) {
    const auto words = take_words(client, rest);
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

/// Why a known command with enough arguments is not run, in the order in which Redis looks.
std::optional<std::string> FakeServer::refusal(const Client& client,
                                               const CommandKind& kind) const {
  const FakeClient::Transaction& transaction = client.transaction;
  const bool is_exec = kind.name == "exec";
  const auto does = [&](unsigned flag) {
    return kind.is(flag) || (is_exec && (transaction.flags & flag) != 0);
  };
  if (needs_login(client) && !kind.is(CommandKind::without_login)) return std::string(no_login);
  if (is_forbidden(kind)) {
    return "NOPERM this user has no permissions to run the '" + std::string(kind.name) +
           "' command";
  }
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
    end_transaction(client);
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
  running_ = &client;
  const CommandKind* const kind = find(words);
  if (kind == nullptr) {
    refuse(client, kind, one_line(unknown(words)));
  } else if (!kind->takes(words.size())) {
    refuse(client, kind,
           "ERR wrong number of arguments for '" + std::string(kind->name) + "' command");
  } else if (const auto error = refusal(client, *kind)) {
    refuse(client, kind, *error);
  } else if (client.transaction.is_open && !is_one_of(never_queued, kind->name)) {
    queue(client, *kind, words);
  } else {
    run(client, *kind, words);
  }
  const bool keeps_caching = kind != nullptr && kind->name.starts_with("client|");
  if (!client.transaction.is_open && !keeps_caching) client.tracking.caching = false;
  running_ = nullptr;
  if (client.ends) close(client);
}

void FakeServer::queue(Client& client, const CommandKind& kind, Words words) {
  FakeClient::Transaction& transaction = client.transaction;
  resp::append_status(client.output, "QUEUED");
  if (transaction.is_touched || transaction.is_refused) return;  // EXEC will not run it
  transaction.queued.emplace_back(words.begin(), words.end());
  transaction.flags |= kind.flags;
  transaction.common_flags &= kind.flags;
}

void FakeServer::run(Client& client, const CommandKind& kind, Words words) {
  ++depth_;
  if (kind.run != nullptr) {
    DataCall call{keys_, client.database, words, client.output};
    kind.run(call);
  } else {
    (this->*own_command(kind.name).run)(client, words);
  }
  --depth_;
  if (kind.is(CommandKind::readonly)) remember_keys(client, kind, words);
  if (depth_ == 0) send_pending();
}

// Changes of keys: watched ones and tracked ones.

void FakeServer::key_changed(int database, std::string_view key) {
  touch_watchers(database, key);
  invalidate(key);
}

void FakeServer::touch_watchers(int database, std::string_view key) {
  for (auto& one : clients_) {
    FakeClient::Transaction& transaction = one.second.transaction;
    const auto watched = std::ranges::find_if(
        transaction.watched,
        [&](const FakeClient::WatchedKey& of) { return of.database == database && of.key == key; });
    if (watched == transaction.watched.end()) continue;
    if (watched->was_expired) {
      // It was absent already; from now on any change counts.
      watched->was_expired = keys_.is_stored(database, key);
      continue;
    }
    transaction.is_touched = true;
    transaction.watched.clear();
  }
}

void FakeServer::touch_all_watchers(int database) {
  for (auto& one : clients_) {
    FakeClient::Transaction& transaction = one.second.transaction;
    for (FakeClient::WatchedKey& watched : transaction.watched) {
      if (watched.database != database || !keys_.is_stored(database, watched.key)) continue;
      if (!std::exchange(watched.was_expired, false)) transaction.is_touched = true;
    }
  }
}

FakeServer::Client* FakeServer::client_with(std::uint64_t id) {
  for (auto& one : clients_) {
    if (one.second.id == id && !one.second.is_closed) return &one.second;
  }
  return nullptr;
}

// By name only, whatever the database is: so does Redis.
void FakeServer::remember_keys(const Client& tracker, const CommandKind& kind, Words words) {
  const FakeClient::Tracking& tracking = tracker.tracking;
  if (!tracking.is_on || (tracking.opt_in && !tracking.caching) ||
      (tracking.opt_out && tracking.caching)) {
    return;
  }
  // What a script reads are all of its keys.
  Words keys = script_ != nullptr ? script_->keys : Words();
  if (script_ == nullptr && kind.first_key > 0) {
    keys = words.subspan(kind.first_key);
    if (!kind.has_more_keys) keys = keys.first(1);
  }
  for (const std::string_view key : keys) tracked_[std::string(key)].insert(tracker.id);
}

void FakeServer::invalidate(std::string_view key) {
  const auto found = tracked_.find(key);
  if (found == tracked_.end()) return;
  const std::string name(key);
  const std::set<std::uint64_t> ids = std::move(found->second);
  tracked_.erase(found);
  for (const std::uint64_t id : ids) {
    const Client* const tracker = client_with(id);
    if (tracker == nullptr || !tracker->tracking.is_on) continue;
    if (tracker != running_) {
      send_tracked(*tracker, &name);
    } else if (!tracker->tracking.no_loop) {
      pending_.emplace_back(name);  // behind the reply to its own command
    }
  }
}

void FakeServer::invalidate_all() {
  for (const auto& one : clients_) {
    if (!one.second.tracking.is_on) continue;
    if (&one.second == running_) {
      pending_.emplace_back();
    } else {
      send_tracked(one.second, nullptr);
    }
  }
  tracked_.clear();
}

void FakeServer::send_pending() {
  for (const auto& key : std::exchange(pending_, {})) {
    send_tracked(*running_, key ? &*key : nullptr);
  }
}

/// Null: all keys. In RESP2, only a connection with subscriptions can be sent anything unasked.
void FakeServer::send_tracked(const Client& tracker, const std::string* key) {
  Client* const target = client_with(tracker.tracking.redirect);
  if (target == nullptr || !target->channels.any()) return;
  append_array(target->output, 3);
  append_bulk(target->output, "message");
  append_bulk(target->output, invalidated);
  if (key == nullptr) return append_nil(target->output);
  append_array(target->output, 1);
  append_bulk(target->output, *key);
}

// Connections.

void FakeServer::flush_database(Client& client, Words) {
  clear(client.database);
  invalidate_all();
  append_ok(client.output);
}

void FakeServer::flush_all(Client& client, Words) {
  for (int database = 0; database < options_.databases; ++database) clear(database);
  invalidate_all();
  append_ok(client.output);
}

void FakeServer::clear(int database) {
  touch_all_watchers(database);
  keys_.clear(database);
}

void FakeServer::select(Client& client, Words words) {
  const auto database = integer_in(words[1]);
  if (!database) return append_error(client.output, resp::no_integer);
  if (*database < 0 || *database >= options_.databases) {
    return append_error(client.output, "ERR DB index is out of range");
  }
  client.database = static_cast<int>(*database);
  append_ok(client.output);
}

void FakeServer::ping(Client& client, Words words) {
  if (words.size() > 2) {
    return append_error(client.output, "ERR wrong number of arguments for 'ping' command");
  }
  if (client.channels.any()) {
    append_array(client.output, 2);
    append_bulk(client.output, "pong");
    return append_bulk(client.output, words.size() == 2 ? words[1] : "");
  }
  if (words.size() == 2) return append_bulk(client.output, words[1]);
  resp::append_status(client.output, "PONG");
}

void FakeServer::quit(Client& client, Words) {
  append_ok(client.output);
  client.ends = true;
}

void FakeServer::auth(Client& client, Words words) {
  if (words.size() > 3) return append_error(client.output, resp::syntax_error);
  if (words.size() == 2 && options_.password.empty()) {
    return append_error(client.output,
                        "ERR AUTH <password> called without any password configured for the "
                        "default user. Are you sure your configuration is correct?");
  }
  const bool is_user = words.size() == 2 || words[1] == "default";
  if (!is_user || (!options_.password.empty() && words.back() != options_.password)) {
    return append_error(client.output,
                        "WRONGPASS invalid username-password pair or user is disabled.");
  }
  client.is_logged_in = true;
  append_ok(client.output);
}

void FakeServer::asking(Client& client, Words) {
  append_error(client.output, "ERR This instance has cluster support disabled");
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

void FakeServer::get_client_id(Client& client, Words) {
  append_integer(client.output, static_cast<std::int64_t>(client.id));
}

void FakeServer::set_name(Client& client, Words words) {
  const bool is_bad = std::ranges::any_of(words[2], [](char c) { return c < '!' || c > '~'; });
  if (is_bad) {
    return append_error(client.output,
                        "ERR Client names cannot contain spaces, newlines or special characters.");
  }
  client.name = words[2];
  append_ok(client.output);
}

void FakeServer::get_name(Client& client, Words) {
  if (client.name.empty()) return append_nil(client.output);
  append_bulk(client.output, client.name);
}

void FakeServer::track(Client& client, Words words) {
  std::string& out = client.output;
  FakeClient::Tracking wanted{.is_on = true, .caching = client.tracking.caching};
  for (std::size_t i = 3; i < words.size(); ++i) {
    if (is_word(words[i], "redirect") && i + 1 < words.size()) {
      if (wanted.redirect != 0) {
        return append_error(out, "ERR A client can only redirect to a single other client");
      }
      const auto id = integer_in(words[++i]);
      if (!id) return append_error(out, resp::no_integer);
      wanted.redirect = static_cast<std::uint64_t>(*id);
      if (client_with(wanted.redirect) == nullptr) {
        return append_error(out, "ERR The client ID you want redirect to does not exist");
      }
    } else if (is_word(words[i], "optin")) {
      wanted.opt_in = true;
    } else if (is_word(words[i], "optout")) {
      wanted.opt_out = true;
    } else if (is_word(words[i], "noloop")) {
      wanted.no_loop = true;
    } else {
      return append_error(out, resp::syntax_error);
    }
  }
  const bool is_on = is_word(words[2], "on");
  if (!is_on && !is_word(words[2], "off")) return append_error(out, resp::syntax_error);
  if (is_on && wanted.opt_in && wanted.opt_out) {
    return append_error(out, "ERR You can't specify both OPTIN mode and OPTOUT mode");
  }
  if (is_on &&
      ((wanted.opt_in && client.tracking.opt_out) || (wanted.opt_out && client.tracking.opt_in))) {
    return append_error(out,
                        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for "
                        "this client, and then re-enabling it with a different mode.");
  }
  // What is pending in a transaction is sent although tracking has ended meanwhile.
  client.tracking = is_on ? wanted : FakeClient::Tracking{.redirect = client.tracking.redirect};
  append_ok(out);
}

void FakeServer::caching(Client& client, Words words) {
  std::string& out = client.output;
  if (!client.tracking.is_on) {
    return append_error(out,
                        "ERR CLIENT CACHING can be called only when the client is in tracking "
                        "mode with OPTIN or OPTOUT mode enabled");
  }
  const bool yes = is_word(words[2], "yes");
  if (!yes && !is_word(words[2], "no")) return append_error(out, resp::syntax_error);
  if (!(yes ? client.tracking.opt_in : client.tracking.opt_out)) {
    return append_error(out, yes ? "ERR CLIENT CACHING YES is only valid when tracking is enabled "
                                   "in OPTIN mode."
                                 : "ERR CLIENT CACHING NO is only valid when tracking is enabled "
                                   "in OPTOUT mode.");
  }
  client.tracking.caching = true;
  append_ok(out);
}

/// By id only; an address is one of no client.
void FakeServer::kill(Client& client, Words words) {
  std::string& out = client.output;
  if (words.size() == 3) return append_error(out, "ERR No such client");
  std::optional<std::int64_t> id;
  bool spares_itself = true;
  for (std::size_t i = 2; i < words.size(); i += 2) {
    if (i + 1 == words.size()) return append_error(out, resp::syntax_error);
    if (is_word(words[i], "id")) {
      id = integer_in(words[i + 1]);
      if (!id || *id < 1) return append_error(out, "ERR client-id should be greater than 0");
    } else if (is_word(words[i], "skipme") &&
               (is_word(words[i + 1], "yes") || is_word(words[i + 1], "no"))) {
      spares_itself = is_word(words[i + 1], "yes");
    } else {
      return append_error(out, resp::syntax_error);
    }
  }
  std::int64_t killed = 0;
  bool kills_itself = false;
  for (auto& one : clients_) {
    Client& other = one.second;
    if (other.is_closed || (id && other.id != static_cast<std::uint64_t>(*id))) continue;
    if (&other == &client) {
      kills_itself = !spares_itself;
      killed += kills_itself ? 1 : 0;
      continue;
    }
    other.output.resize(other.written);
    close(other);
    ++killed;
  }
  append_integer(out, killed);
  client.ends |= kills_itself;
}

// Transactions.

void FakeServer::end_transaction(Client& client) { client.transaction = {}; }

void FakeServer::multi(Client& client, Words) {
  if (client.transaction.is_open) {
    return append_error(client.output, "ERR MULTI calls can not be nested");
  }
  client.transaction.is_open = true;
  append_ok(client.output);
}

void FakeServer::discard(Client& client, Words) {
  if (!client.transaction.is_open) return append_error(client.output, "ERR DISCARD without MULTI");
  end_transaction(client);
  append_ok(client.output);
}

void FakeServer::exec(Client& client, Words) {
  FakeClient::Transaction& transaction = client.transaction;
  if (!transaction.is_open) return append_error(client.output, "ERR EXEC without MULTI");
  const bool is_over =
      std::ranges::any_of(transaction.watched, [&](const FakeClient::WatchedKey& watched) {
        return !watched.was_expired && keys_.is_expired(watched.database, watched.key);
      });
  if (transaction.is_refused || transaction.is_touched || is_over) {
    if (transaction.is_refused) {
      append_error(client.output, "EXECABORT Transaction discarded because of previous errors.");
    } else {
      resp::append_nil_array(client.output);
    }
    return end_transaction(client);
  }
  transaction.watched.clear();
  const auto commands = std::exchange(transaction.queued, {});
  append_array(client.output, commands.size());
  client.is_executing = true;
  std::optional<std::size_t> end;  // of the output of a client that kills itself
  for (const auto& command : commands) {
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
  end_transaction(client);
}

void FakeServer::watch(Client& client, Words words) {
  FakeClient::Transaction& transaction = client.transaction;
  if (transaction.is_open) {
    return append_error(client.output, "ERR WATCH inside MULTI is not allowed");
  }
  append_ok(client.output);
  if (transaction.is_touched) return;
  for (const std::string_view key : words.subspan(1)) {
    const bool is_watched =
        std::ranges::any_of(transaction.watched, [&](const FakeClient::WatchedKey& one) {
          return one.database == client.database && one.key == key;
        });
    if (is_watched) continue;
    transaction.watched.push_back(
        {client.database, std::string(key), keys_.is_expired(client.database, key)});
  }
}

void FakeServer::unwatch(Client& client, Words) {
  client.transaction.watched.clear();
  client.transaction.is_touched = false;
  append_ok(client.output);
}

// Messages.

std::int64_t FakeServer::publish_to(std::string_view channel, std::string_view message,
                                    bool of_shard) {
  std::int64_t receivers = 0;
  for (auto& one : clients_) {
    Client& client = one.second;
    const auto& channels = of_shard ? client.channels.of_shard : client.channels.plain;
    if (channels.contains(channel)) {
      append_message(client.output, of_shard ? "smessage" : "message", channel, message);
      ++receivers;
    }
    if (of_shard) continue;
    for (const std::string& pattern : client.channels.patterns) {
      if (!matches(pattern, channel)) continue;
      append_array(client.output, 4);
      for (const std::string_view text :
           {std::string_view("pmessage"), std::string_view(pattern), channel, message}) {
        append_bulk(client.output, text);
      }
      ++receivers;
    }
  }
  return receivers;
}

void FakeServer::publish(Client& client, Words words) {
  const std::int64_t receivers = publish_to(words[1], words[2], false);
  append_integer(client.output, receivers);
}
void FakeServer::shard_publish(Client& client, Words words) {
  const std::int64_t receivers = publish_to(words[1], words[2], true);
  append_integer(client.output, receivers);
}

void FakeServer::subscribe(Client& client, Words words) {
  for (const std::string_view channel : words.subspan(1)) {
    client.channels.plain.emplace(channel);
    append_change(client.output, "subscribe", &channel, client.channels.count());
  }
}
void FakeServer::subscribe_pattern(Client& client, Words words) {
  for (const std::string_view pattern : words.subspan(1)) {
    client.channels.patterns.emplace(pattern);
    append_change(client.output, "psubscribe", &pattern, client.channels.count());
  }
}
void FakeServer::shard_subscribe(Client& client, Words words) {
  if (client.is_executing) {
    return append_error(client.output, "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
  }
  for (const std::string_view channel : words.subspan(1)) {
    client.channels.of_shard.emplace(channel);
    append_change(client.output, "ssubscribe", &channel, client.channels.of_shard.size());
  }
}

/// Ends the subscriptions that a command names, or all. `count` is asked behind each.
template <class Count>
void unsubscribe_from(FakeClient::Channels::Names& channels, std::string_view verb, Words words,
                      std::string& out, Count count) {
  std::vector<std::string> named(words.begin() + 1, words.end());
  if (named.empty()) named.assign(channels.begin(), channels.end());
  for (const std::string_view channel : named) {
    channels.erase(std::string(channel));
    append_change(out, verb, &channel, count());
  }
  if (named.empty()) append_change(out, verb, nullptr, count());
}

void FakeServer::unsubscribe(Client& client, Words words) {
  unsubscribe_from(client.channels.plain, "unsubscribe", words, client.output,
                   [&] { return client.channels.count(); });
}
void FakeServer::unsubscribe_pattern(Client& client, Words words) {
  unsubscribe_from(client.channels.patterns, "punsubscribe", words, client.output,
                   [&] { return client.channels.count(); });
}
void FakeServer::shard_unsubscribe(Client& client, Words words) {
  unsubscribe_from(client.channels.of_shard, "sunsubscribe", words, client.output,
                   [&] { return client.channels.of_shard.size(); });
}

void FakeServer::count_subscribers(Client& client, Words words) {
  append_array(client.output, (words.size() - 2) * 2);
  for (const std::string_view channel : words.subspan(2)) {
    append_bulk(client.output, channel);
    append_integer(client.output, std::ranges::count_if(clients_, [&](const auto& one) {
                     return one.second.channels.plain.contains(channel);
                   }));
  }
}
void FakeServer::count_shard_subscribers(Client& client, Words words) {
  append_array(client.output, (words.size() - 2) * 2);
  for (const std::string_view channel : words.subspan(2)) {
    append_bulk(client.output, channel);
    append_integer(client.output, std::ranges::count_if(clients_, [&](const auto& one) {
                     return one.second.channels.of_shard.contains(channel);
                   }));
  }
}
void FakeServer::count_patterns(Client& client, Words) {
  FakeClient::Channels::Names patterns;
  for (const auto& one : clients_) {
    patterns.insert(one.second.channels.patterns.begin(), one.second.channels.patterns.end());
  }
  append_integer(client.output, static_cast<std::int64_t>(patterns.size()));
}

void FakeServer::wait(Client& client, Words words) {
  std::string& out = client.output;
  if (is_replica()) {
    return append_error(out,
                        "ERR WAIT cannot be used with replica instances. Please also note that "
                        "since Redis 4.0 if a replica is configured to be writable (which is not "
                        "the default) writes to replicas are just local and are not propagated.");
  }
  if (!integer_in(words[1])) return append_error(out, resp::no_integer);
  const auto timeout = integer_in(words[2]);
  if (!timeout) return append_error(out, "ERR timeout is not an integer or out of range");
  if (*timeout < 0) return append_error(out, "ERR timeout is negative");
  append_integer(out, options_.replicas);
}

void FakeServer::wait_for_disk(Client& client, Words) {
  append_array(client.output, 2);
  append_integer(client.output, options_.on_disk.value_or(0));
  append_integer(client.output, options_.replicas);
}

// Scripts.

/// False, after an error: the text is no script.
bool FakeServer::load(std::string& out, std::string_view text) {
  LuaMachine& lua = LuaMachine::of_this_process();
  const std::string& sha1 = lua.sha1(text);
  if (scripts_.contains(sha1)) return true;
  if (const auto problem = lua.compile(sha1, text)) {
    append_error(out, one_line("ERR Error compiling script (new function): " + *problem));
    return false;
  }
  scripts_.emplace(sha1, text);
  return true;
}

void FakeServer::eval(Client& client, Words words) { run_script(client, words, false); }

void FakeServer::eval_by_hash(Client& client, Words words) {
  if (words[1].size() != 40) return append_error(client.output, no_script);
  run_script(client, words, true);
}

void FakeServer::run_script(Client& client, Words words, bool by_hash) {
  const auto size = integer_in(words[2]);
  if (!size) return append_error(client.output, resp::no_integer);
  if (*size > static_cast<std::int64_t>(words.size()) - 3) {
    return append_error(client.output, "ERR Number of keys can't be greater than number of args");
  }
  if (*size < 0) return append_error(client.output, "ERR Number of keys can't be negative");
  LuaMachine& lua = LuaMachine::of_this_process();
  const std::string sha1 = by_hash ? lower(words[1]) : lua.sha1(words[1]);
  if (by_hash && !scripts_.contains(sha1)) return append_error(client.output, no_script);
  if (!by_hash && !load(client.output, words[1])) return;
  if (role_ == Role::stale_replica) return append_error(client.output, stale);
  // Another thread may have loaded it.
  lua.compile(sha1, scripts_.find(sha1)->second);
  const auto keys = static_cast<std::size_t>(*size);
  ScriptRun script{.keys = words.subspan(3, keys), .database = client.database};
  script_ = &script;
  std::string reply;
  lua.run(
      sha1, script.keys, words.subspan(3 + keys),
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

void FakeServer::load_script(Client& client, Words words) {
  if (!load(client.output, words[2])) return;
  append_bulk(client.output, LuaMachine::of_this_process().sha1(words[2]));
}

void FakeServer::know_scripts(Client& client, Words words) {
  append_array(client.output, words.size() - 2);
  for (const std::string_view sha1 : words.subspan(2)) {
    append_integer(client.output, scripts_.contains(lower(sha1)) ? 1 : 0);
  }
}

void FakeServer::forget_scripts(Client& client, Words words) {
  const bool is_good =
      words.size() == 2 ||
      (words.size() == 3 && (is_word(words[2], "sync") || is_word(words[2], "async")));
  if (!is_good) {
    return append_error(client.output, "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
  }
  scripts_.clear();
  append_ok(client.output);
}

const FakeServer::Own& FakeServer::own_command(std::string_view name) {
  static constexpr std::array all{Own{"flushdb", &FakeServer::flush_database},
                                  Own{"flushall", &FakeServer::flush_all},
                                  Own{"select", &FakeServer::select},
                                  Own{"ping", &FakeServer::ping},
                                  Own{"quit", &FakeServer::quit},
                                  Own{"auth", &FakeServer::auth},
                                  Own{"asking", &FakeServer::asking},
                                  Own{"role", &FakeServer::role},
                                  Own{"info", &FakeServer::info},
                                  Own{"command|info", &FakeServer::command_info},
                                  Own{"client|id", &FakeServer::get_client_id},
                                  Own{"client|setname", &FakeServer::set_name},
                                  Own{"client|getname", &FakeServer::get_name},
                                  Own{"client|tracking", &FakeServer::track},
                                  Own{"client|caching", &FakeServer::caching},
                                  Own{"client|kill", &FakeServer::kill},
                                  Own{"multi", &FakeServer::multi},
                                  Own{"exec", &FakeServer::exec},
                                  Own{"discard", &FakeServer::discard},
                                  Own{"watch", &FakeServer::watch},
                                  Own{"unwatch", &FakeServer::unwatch},
                                  Own{"publish", &FakeServer::publish},
                                  Own{"spublish", &FakeServer::shard_publish},
                                  Own{"subscribe", &FakeServer::subscribe},
                                  Own{"unsubscribe", &FakeServer::unsubscribe},
                                  Own{"psubscribe", &FakeServer::subscribe_pattern},
                                  Own{"punsubscribe", &FakeServer::unsubscribe_pattern},
                                  Own{"ssubscribe", &FakeServer::shard_subscribe},
                                  Own{"sunsubscribe", &FakeServer::shard_unsubscribe},
                                  Own{"pubsub|numsub", &FakeServer::count_subscribers},
                                  Own{"pubsub|shardnumsub", &FakeServer::count_shard_subscribers},
                                  Own{"pubsub|numpat", &FakeServer::count_patterns},
                                  Own{"wait", &FakeServer::wait},
                                  Own{"waitaof", &FakeServer::wait_for_disk},
                                  Own{"eval", &FakeServer::eval},
                                  Own{"evalsha", &FakeServer::eval_by_hash},
                                  Own{"script|load", &FakeServer::load_script},
                                  Own{"script|exists", &FakeServer::know_scripts},
                                  Own{"script|flush", &FakeServer::forget_scripts}};
  const auto found = std::ranges::find(all, name, &Own::name);
  assert(found != all.end());
  return *found;
}

}  // namespace redlatch::test
