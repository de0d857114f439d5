#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fake_client.hpp"
#include "fake_commands.hpp"
#include "fake_keyspace.hpp"

namespace redlatch::test {

/// All times of a fake server are milliseconds of the clock that it was given.
struct FakeServerOptions {
  /// INFO names it. The server behaves as Redis 7.0.15 whatever it is.
  std::string version = "7.0.15";
  /// Of the user `default`, who is the only one. Empty: no log-in is needed.
  std::string password{};
  /// False: EVAL, EVALSHA and SCRIPT are refused as by an ACL without @scripting.
  bool allows_scripts = true;
  int databases = 16;
  /// What WAIT answers, at once.
  int replicas = 0;
  /// The answer to WAITAOF for the server's own disk. Nothing: there is no such command, as in
  /// Redis 7.0.
  std::optional<int> on_disk{};
  /// Connections beyond that are answered with an error, and closed.
  std::size_t max_clients = 10000;
  /// The id of the first client since the start, and since each restart.
  std::uint64_t first_client = 1;
};

/// A server without sockets: bytes in, bytes out, and a clock of milliseconds. It behaves as Redis
/// 7.0.15 does for all commands that the library sends, to the byte: fake_server_test.cpp compares
/// the two. Nothing in it is random or depends on the real time; equal calls have equal results.
///
/// The clock is read once for each command, and in scripts the time stands still. An expired key is
/// removed by the next command that looks for it. A real server also looks for expired keys itself,
/// about ten times a second; here `remove_expired` does, when it is called. A WAIT never waits.
/// Not known: ACL users, blocking commands, RESP3, broadcasting TRACKING, MONITOR, and the commands
/// that find_command() does not have.
///
/// Not for several threads at a time, not even with several servers.
class FakeServer {
 public:
  /// Never goes back. Unix time or since anything.
  using Clock = std::function<std::chrono::milliseconds()>;
  /// The run id is drawn from `seed`, another one for each restart.
  FakeServer(Clock clock, std::uint64_t seed, FakeServerOptions options = {});
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  /// Never used twice, whereas the ids of CLIENT ID begin again with a restart.
  using Connection = std::uint64_t;
  Connection connect();
  /// Takes any part of a stream of commands (RESP2 arrays of bulk strings), in order, and runs the
  /// commands that are complete. What comes on a closed connection is dropped.
  void receive(Connection connection, std::string_view bytes);
  /// What the server has sent to this connection since the last call: replies, and messages.
  std::string take_output(Connection connection);
  /// By the server: QUIT, CLIENT KILL, a protocol error, a restart. Its output can still be taken.
  bool is_closed(Connection connection) const;
  /// By the client. All of the connection is forgotten, and what it has not taken is lost.
  void disconnect(Connection connection);
  /// Connections that have output to be taken, in the order in which they were made.
  std::vector<Connection> with_output() const;
  /// The id by which CLIENT ID and CLIENT KILL know it.
  std::uint64_t client_id(Connection connection) const { return clients_.at(connection).id; }

  /// Closes all connections, whose output is lost, and forgets scripts, subscriptions and tracked
  /// keys. Without `keeps_data` the databases are empty afterwards.
  void restart(bool keeps_data);
  void flush_scripts() { scripts_.clear(); }
  /// The data of another server, as a replica has it after a full synchronisation. Connections that
  /// track keys here are sent an invalidation of all keys.
  void copy_data(const FakeServer& other);
  /// Removes expired keys, as a real server's active expiry does at some time.
  void remove_expired();
  /// When the first key will have expired: from this time on, the real server may remove it.
  std::optional<std::chrono::milliseconds> next_expiry() const;

  // Each of these lasts until it is changed, also through a restart.
  /// A replica whose primary is out of reach: writes are answered READONLY, and expired keys stay
  /// stored. A stale one has `replica-serve-stale-data no`: all that touches data is answered
  /// MASTERDOWN.
  enum class Role { primary, replica, stale_replica };
  void set_role(Role role);
  /// All that touches data is answered LOADING.
  void set_loading(bool is_loading) noexcept { is_loading_ = is_loading; }
  /// Nearly everything is answered BUSY, as while a script of another client takes long.
  void set_busy(bool is_busy) noexcept { is_busy_ = is_busy; }
  /// maxmemory is used up, and nothing may be evicted: OOM.
  void set_out_of_memory(bool is_full) noexcept { is_full_ = is_full; }
  /// The error that writes are answered with, such as NOREPLICAS or MISCONF. Empty: none.
  void set_write_refusal(std::string error) { write_refusal_ = std::move(error); }
  void set_password(std::string password) { options_.password = std::move(password); }
  void set_allows_scripts(bool allows) noexcept { options_.allows_scripts = allows; }
  void set_replicas(int replicas) noexcept { options_.replicas = replicas; }
  void set_on_disk(std::optional<int> on_disk) noexcept { options_.on_disk = on_disk; }

  // What a checker looks at, without a change of anything. Expired keys are absent.
  bool exists(std::string_view key, int database = 0) const;
  /// The text of a string; nothing for other types and absent keys.
  std::optional<std::string> value(std::string_view key, int database = 0) const;
  /// Null: absent.
  const FakeKeyspace::Entry* entry(std::string_view key, int database = 0) const;
  struct Key {
    int database;
    std::string name;
    bool operator==(const Key&) const = default;
  };
  /// The keys of all databases, in order.
  std::vector<Key> keys() const;
  std::size_t connections() const noexcept { return clients_.size(); }
  std::size_t subscribers(std::string_view channel) const;
  /// The commands that were run, those of scripts not counted.
  std::uint64_t commands() const noexcept { return commands_; }
  const std::string& run_id() const noexcept { return run_id_; }

 private:
  using Client = FakeClient;
  /// A script while it runs. Its SELECT concerns only itself.
  struct ScriptRun {
    Words keys;
    int database;
    bool has_written = false;
  };
  struct Own {
    std::string_view name;
    void (FakeServer::*run)(Client&, Words);
  };
  static const Own& own_command(std::string_view name);

  /// Takes one command from the input, which may be an empty one; nothing if it is not complete. An
  /// error in the protocol closes the client.
  std::optional<std::vector<std::string_view>> take_words(Client& client, std::string_view& rest);
  void process(Client& client, Words words);
  std::optional<std::string> refusal(const Client& client, const CommandKind& kind) const;
  void refuse(Client& client, const CommandKind* kind, std::string_view error);
  void run(Client& client, const CommandKind& kind, Words words);
  void close(Client& client);
  void send_tracked(const Client& tracker, const std::string* key);
  void key_changed(int database, std::string_view key);
  void touch_watchers(int database, std::string_view key);
  void touch_all_watchers(int database);
  void invalidate(std::string_view key);
  void invalidate_all();
  void send_pending();
  void remember_keys(const Client& tracker, const CommandKind& kind, Words words);
  void clear(int database);
  Client* client_with(std::uint64_t id);
  bool is_replica() const noexcept { return role_ != Role::primary; }
  bool needs_login(const Client& client) const;
  bool is_forbidden(const CommandKind& kind) const;
  void end_transaction(Client& client);
  const CommandKind* find(Words words) const;
  void queue(Client& client, const CommandKind& kind, Words words);
  void run_script(Client& client, Words words, bool by_hash);
  void run_in_script(Client& client, Words words, std::string& out);
  std::optional<std::string_view> refusal_in_script(const CommandKind* kind, Words words) const;
  std::int64_t publish_to(std::string_view channel, std::string_view message, bool of_shard);
  bool load(std::string& out, std::string_view text);
  void new_run_id();

  void flush_database(Client& client, Words words);
  void flush_all(Client& client, Words words);
  void select(Client& client, Words words);
  void ping(Client& client, Words words);
  void quit(Client& client, Words words);
  void auth(Client& client, Words words);
  void asking(Client& client, Words words);
  void role(Client& client, Words words);
  void info(Client& client, Words words);
  void command_info(Client& client, Words words);
  void get_client_id(Client& client, Words words);
  void set_name(Client& client, Words words);
  void get_name(Client& client, Words words);
  void track(Client& client, Words words);
  void caching(Client& client, Words words);
  void kill(Client& client, Words words);
  void multi(Client& client, Words words);
  void exec(Client& client, Words words);
  void discard(Client& client, Words words);
  void watch(Client& client, Words words);
  void unwatch(Client& client, Words words);
  void publish(Client& client, Words words);
  void shard_publish(Client& client, Words words);
  void subscribe(Client& client, Words words);
  void unsubscribe(Client& client, Words words);
  void subscribe_pattern(Client& client, Words words);
  void unsubscribe_pattern(Client& client, Words words);
  void shard_subscribe(Client& client, Words words);
  void shard_unsubscribe(Client& client, Words words);
  void count_subscribers(Client& client, Words words);
  void count_shard_subscribers(Client& client, Words words);
  void count_patterns(Client& client, Words words);
  void wait(Client& client, Words words);
  void wait_for_disk(Client& client, Words words);
  void eval(Client& client, Words words);
  void eval_by_hash(Client& client, Words words);
  void load_script(Client& client, Words words);
  void know_scripts(Client& client, Words words);
  void forget_scripts(Client& client, Words words);

  Clock clock_;
  std::uint64_t random_;
  FakeServerOptions options_;
  std::int64_t started_;
  std::string run_id_{};
  FakeKeyspace keys_;
  std::map<Connection, Client> clients_{};
  Connection next_connection_ = 1;
  std::uint64_t next_client_;
  std::map<std::string, std::string, std::less<>> scripts_{};              // by SHA-1
  std::map<std::string, std::set<std::uint64_t>, std::less<>> tracked_{};  // key: ids of clients
  std::vector<std::optional<std::string>> pending_{};  // invalidations for the running client
  Client* running_ = nullptr;
  ScriptRun* script_ = nullptr;  // that runs
  int depth_ = 0;                // of commands that run each other
  std::uint64_t commands_ = 0;
  Role role_ = Role::primary;
  bool is_loading_ = false;
  bool is_busy_ = false;
  bool is_full_ = false;
  std::string write_refusal_{};
};

}  // namespace redlatch::test
