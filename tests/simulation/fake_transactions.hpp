#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fake_client.hpp"
#include "fake_commands.hpp"
#include "fake_keyspace.hpp"

namespace redlatch::test {

/// WATCH, and MULTI until EXEC, at a fake server.
class FakeTransactions {
 public:
  FakeTransactions(FakeClients& clients, const FakeKeyspace& keys)
      : clients_(clients), keys_(keys) {}

  /// A key has changed.
  void touch(int database, std::string_view key);
  /// All keys of the database are about to be removed.
  void touch_all(int database);
  void queue(FakeClient& client, const CommandKind& kind, Words words);
  using Commands = std::vector<std::vector<std::string>>;
  /// For EXEC: what is to be run. Nothing, after another reply: the transaction is over, or none.
  std::optional<Commands> begin_execution(FakeClient& client);

  // The commands.
  void multi(FakeClient& client, Words words);
  void discard(FakeClient& client, Words words);
  void watch(FakeClient& client, Words words);
  void unwatch(FakeClient& client, Words words);

 private:
  FakeClients& clients_;
  const FakeKeyspace& keys_;
};

}  // namespace redlatch::test
