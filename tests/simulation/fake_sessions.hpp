#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fake_client.hpp"
#include "fake_commands.hpp"
#include "fake_server_options.hpp"

namespace redlatch::test {

/// The connections of a fake server, and what concerns one of them by itself.
class FakeSessions {
 public:
  explicit FakeSessions(const FakeServerOptions& options)
      : options_(options), next_client_(options.first_client) {}

  FakeClients& clients() noexcept { return clients_; }
  const FakeClients& clients() const noexcept { return clients_; }

  // As of `FakeServer`.
  using Connection = std::uint64_t;
  Connection connect();
  std::string take_output(Connection connection);
  bool is_closed(Connection connection) const { return clients_.at(connection).is_closed; }
  void disconnect(Connection connection) { clients_.erase(connection); }
  std::vector<Connection> with_output() const;

  /// By the server. What it was to be sent is still sent.
  void close(FakeClient& client);
  /// Closes all, and their output is lost. Ids begin again.
  void restart();
  bool needs_login(const FakeClient& client) const {
    return !options_.password.empty() && !client.is_logged_in;
  }
  /// Takes one command from the input, which may be an empty one; nothing if it is not complete. An
  /// error in the protocol closes the client.
  std::optional<std::vector<std::string_view>> take_words(FakeClient& client,
                                                          std::string_view& rest);

  // The commands.
  void select(FakeClient& client, Words words);
  void ping(FakeClient& client, Words words);
  void quit(FakeClient& client, Words words);
  void auth(FakeClient& client, Words words);
  void get_id(FakeClient& client, Words words);
  void set_name(FakeClient& client, Words words);
  void get_name(FakeClient& client, Words words);
  void kill(FakeClient& client, Words words);

 private:
  const FakeServerOptions& options_;
  FakeClients clients_{};
  Connection next_connection_ = 1;
  std::uint64_t next_client_;
};

}  // namespace redlatch::test
