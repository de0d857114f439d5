#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "raw_client.hpp"
#include "redis_server.hpp"
#include "trouble.hpp"

namespace redlatch::test {

/// Servers that nothing replaces, independent of each other. They keep their data over a restart
/// (appendonly).
class Servers {
 public:
  Servers(std::size_t count, bool tls);

  std::size_t size() const noexcept { return servers_.size(); }
  bool runs(std::size_t number) const { return servers_[number]->runs(); }
  std::string socket(std::size_t number) const { return servers_[number]->socket(); }
  /// Where proxies connect to.
  std::vector<std::string> targets() const;
  /// A fault of the process: `server_stopped`, seen to land if it stood still; `server_restarted`,
  /// if it has ended and answers again; `server_restarted_empty`, if it had keys, too. Nothing for
  /// other faults.
  std::optional<Trouble> begin(Fault fault, std::size_t number);

  /// A client that has subscribed to everything at each server that runs, as a monitor may: it
  /// counts wherever subscribers are counted by PUBLISH.
  void listen_to_all();

 private:
  bool tls_;
  std::vector<std::unique_ptr<RedisServer>> servers_{};
  std::vector<RawClient> listeners_{};
};

}  // namespace redlatch::test
