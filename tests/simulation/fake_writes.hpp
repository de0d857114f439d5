#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fake_client.hpp"
#include "fake_commands.hpp"
#include "fake_keyspace.hpp"

namespace redlatch::test {

/// The replicas of a fake server.
class FakeReplicas {
 public:
  using Changes = std::vector<FakeKeyspace::Change>;
  FakeReplicas() = default;
  FakeReplicas(const FakeReplicas&) = delete;
  FakeReplicas& operator=(const FakeReplicas&) = delete;
  virtual ~FakeReplicas() = default;
  /// A command has changed keys. Returns the number of the write.
  virtual std::uint64_t write(Changes changes) = 0;
  /// How many replicas have confirmed the writes up to this one.
  virtual int confirmed(std::uint64_t writes) const = 0;
  /// `FakeServer::answer_waits` is to be called so much later, and with each confirmation.
  virtual void wait(std::chrono::milliseconds time) = 0;
};

/// What the commands of a fake server write, for its replicas, and the clients that wait for these.
class FakeWrites {
 public:
  explicit FakeWrites(const FakeKeyspace& keys) : keys_(keys) {}

  /// Null: none.
  FakeReplicas* set_replicas(FakeReplicas* replicas) noexcept {
    return std::exchange(replicas_, replicas);
  }
  /// The command that is run has changed this key; all keys of a database.
  void note(int database, std::string_view key);
  void note_all(int database);
  /// The command is over. Returns the number of the last write.
  std::uint64_t send();

  /// WAIT, where there are replicas.
  bool has_replicas() const noexcept { return replicas_ != nullptr; }
  void wait(FakeClient& client, std::int64_t replicas, std::int64_t time);
  /// Answers the client's WAIT if there are enough replicas, or its time is over.
  bool answer(FakeClient& client);

 private:
  const FakeKeyspace& keys_;
  FakeReplicas* replicas_ = nullptr;
  std::uint64_t writes_ = 0;                         // the number of the last
  std::set<std::pair<int, std::string>> changed_{};  // by the command that is run
};

}  // namespace redlatch::test
