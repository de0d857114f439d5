#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace redlatch::test {

/// What a fake server knows of one connection.
struct FakeClient {
  /// Of SUBSCRIBE, PSUBSCRIBE and SSUBSCRIBE. A connection with any of them takes few commands.
  struct Channels {
    using Names = std::set<std::string, std::less<>>;

    Names plain{};
    Names patterns{};
    Names of_shard{};
    /// As the server counts them in its answers: those of shards by themselves.
    std::size_t count() const { return plain.size() + patterns.size(); }
    bool any() const { return count() + of_shard.size() > 0; }
  };
  /// CLIENT TRACKING.
  struct Tracking {
    bool is_on = false;
    bool opt_in = false;
    bool opt_out = false;
    bool no_loop = false;
    bool caching = false;        // CLIENT CACHING was sent for the next command
    std::uint64_t redirect = 0;  // 0: to itself, which RESP2 cannot
  };
  struct WatchedKey {
    int database;
    std::string key;
    bool was_expired;  // at the WATCH, and not removed yet
  };
  /// WATCH and MULTI, until EXEC or DISCARD.
  struct Transaction {
    bool is_open = false;
    bool is_touched = false;      // a watched key has changed
    bool is_refused = false;      // a command was refused when it was to be queued
    unsigned flags = 0;           // of all queued commands
    unsigned common_flags = ~0U;  // of each of them
    std::vector<std::vector<std::string>> queued{};
    std::vector<WatchedKey> watched{};
  };

  /// WAIT, until it is answered.
  struct Wait {
    std::int64_t replicas;
    std::uint64_t writes;  // that they have to have
    std::int64_t until;    // milliseconds by the server's clock
  };

  std::uint64_t id = 0;
  std::string input{};  // a command that is not complete yet
  std::string output{};
  std::size_t written = 0;  // of the output: older than the batch that is run now
  std::string name{};
  int database = 0;
  bool is_logged_in = false;
  bool is_closed = false;
  bool is_asking = false;     // ASKING was sent for the next command
  bool ends = false;          // is closed behind the command that it runs
  bool is_executing = false;  // the commands of its transaction
  Channels channels{};
  Tracking tracking{};
  Transaction transaction{};
  std::uint64_t writes = 0;  // at the server, behind the last command of this client
  std::optional<Wait> wait{};
};

/// By their connections, in the order in which they were made.
using FakeClients = std::map<std::uint64_t, FakeClient>;

/// The open connection that CLIENT ID knows by this id. Null: there is none.
inline FakeClient* client_with(FakeClients& clients, std::uint64_t id) {
  for (auto& one : clients) {
    if (one.second.id == id && !one.second.is_closed) return &one.second;
  }
  return nullptr;
}

}  // namespace redlatch::test
