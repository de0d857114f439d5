#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fake_client.hpp"
#include "fake_cluster_node.hpp"
#include "fake_commands.hpp"
#include "fake_keyspace.hpp"
#include "fake_messages.hpp"
#include "fake_scripts.hpp"
#include "fake_server_options.hpp"
#include "fake_sessions.hpp"
#include "fake_tracking.hpp"
#include "fake_transactions.hpp"
#include "fake_writes.hpp"

namespace redlatch::test {

/// A server without sockets: bytes in, bytes out, and a clock of milliseconds. It behaves as Redis
/// 7.0.15 does for all commands that the library sends, to the byte: fake_server_test.cpp compares
/// the two. Nothing in it is random or depends on the real time; equal calls have equal results.
///
/// The clock is read once for each command, and in scripts the time stands still. An expired key is
/// removed by the next command that looks for it. A real server also looks for expired keys itself,
/// about ten times a second; here `remove_expired` does, when it is called. A WAIT waits for
/// nothing without `FakeReplicas`. Not known: ACL users, blocking commands, RESP3, broadcasting
/// TRACKING, MONITOR, and the commands that find_command() does not have.
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
  using Connection = FakeSessions::Connection;
  Connection connect() { return sessions_.connect(); }
  /// Takes any part of a stream of commands (RESP2 arrays of bulk strings), in order, and runs the
  /// commands that are complete. What comes on a closed connection is dropped.
  void receive(Connection connection, std::string_view bytes);
  /// What the server has sent to this connection since the last call: replies, and messages.
  std::string take_output(Connection connection) { return sessions_.take_output(connection); }
  /// By the server: QUIT, CLIENT KILL, a protocol error, a restart. Its output can still be taken.
  bool is_closed(Connection connection) const { return sessions_.is_closed(connection); }
  /// By the client. All of the connection is forgotten, and what it has not taken is lost.
  void disconnect(Connection connection) { sessions_.disconnect(connection); }
  /// Connections that have output to be taken, in the order in which they were made.
  std::vector<Connection> with_output() const { return sessions_.with_output(); }
  /// The id by which CLIENT ID and CLIENT KILL know it.
  std::uint64_t client_id(Connection connection) const {
    return sessions_.clients().at(connection).id;
  }

  /// Closes all connections, whose output is lost, and forgets scripts, subscriptions and tracked
  /// keys. Without `keeps_data` the databases are empty afterwards.
  void restart(bool keeps_data);
  void flush_scripts() { scripts_.forget(); }
  /// The data of another server, as a replica has it after a full synchronisation. Connections that
  /// track keys here are sent an invalidation of all keys.
  void copy_data(const FakeServer& other);
  /// As a replica: what a command at its primary has changed.
  void apply(const FakeReplicas::Changes& changes);
  /// Null: none. They have to outlive the server, or its last command.
  void set_replicas(FakeReplicas* replicas) noexcept { writes_.set_replicas(replicas); }
  /// As by a command.
  void change(const FakeReplicas::Changes& changes);
  /// Answers each WAIT for which there are enough replicas, or whose time is over.
  void answer_waits();
  /// As a primary that becomes a replica ends them: with an error, and their connections.
  void end_waits();
  /// Null: it is not in a cluster. It has to outlive the server, or its last command.
  void set_cluster(const FakeClusterNode* node) noexcept { cluster_ = node; }
  /// The slots of which this is true have another owner now, as far as the node knows.
  void slots_moved(const std::function<bool(std::size_t slot)>& is_moved);
  /// As CLIENT KILL of all. What they were to be sent is still sent.
  void close_clients();
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
  std::size_t connections() const noexcept { return sessions_.clients().size(); }
  std::size_t subscribers(std::string_view channel) const { return messages_.subscribers(channel); }
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
    void (*run)(FakeServer&, Client&, Words);
  };
  template <auto part, auto command>
  static void by(FakeServer& server, Client& client, Words words);
  template <auto command>
  static void own(FakeServer& server, Client& client, Words words);
  static const Own& own_command(std::string_view name);

  void run_input(Client& client);
  void process(Client& client, Words words);
  std::optional<std::string> denial(const Client& client, const CommandKind& kind) const;
  std::optional<std::string> redirection(const Client& client, const CommandKind& kind,
                                         Words words) const;
  std::optional<std::string> refusal(const Client& client, const CommandKind& kind) const;
  void refuse(Client& client, const CommandKind* kind, std::string_view error);
  void run(Client& client, const CommandKind& kind, Words words);
  void key_changed(int database, std::string_view key);
  Words keys_of(const CommandKind& kind, Words words) const;
  void clear(int database);
  bool is_replica() const noexcept { return role_ != Role::primary; }
  bool is_forbidden(const CommandKind& kind) const;
  const CommandKind* find(Words words) const;
  void run_script(Client& client, Words words, bool by_hash);
  void run_in_script(Client& client, Words words, std::string& out);
  std::optional<std::string_view> refusal_in_script(const CommandKind* kind, Words words) const;
  void new_run_id();

  void flush_database(Client& client, Words words);
  void flush_all(Client& client, Words words);
  void asking(Client& client, Words words);
  void cluster_slots(Client& client, Words words);
  void cluster_nodes(Client& client, Words words);
  void get_config(Client& client, Words words);
  void role(Client& client, Words words);
  void info(Client& client, Words words);
  void command_info(Client& client, Words words);
  void exec(Client& client, Words words);
  void wait(Client& client, Words words);
  void wait_for_disk(Client& client, Words words);
  void eval(Client& client, Words words);
  void eval_by_hash(Client& client, Words words);

  Clock clock_;
  std::uint64_t random_;
  FakeServerOptions options_;
  std::int64_t started_;
  std::string run_id_{};
  FakeKeyspace keys_;
  FakeSessions sessions_{options_};
  FakeTransactions transactions_{sessions_.clients(), keys_};
  FakeTracking tracking_{sessions_.clients()};
  FakeMessages messages_{sessions_.clients()};
  FakeScripts scripts_{};
  FakeWrites writes_{keys_};
  const FakeClusterNode* cluster_ = nullptr;
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
