#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cluster_of_one.hpp"
#include "loopback.hpp"
#include "sentinel_server.hpp"
#include "server_process.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {

/// What a server needs, and what belongs to it.
struct ServerParts {
  std::string socket() const { return directory.path() + "/redis.sock"; }

  TemporaryDirectory directory{};
  ReservedPort port{};
  std::optional<ReservedPort> tls_port{};
  ServerProcess process{};
  std::unique_ptr<SentinelServer> sentinel{};
  std::unique_ptr<ClusterOfOne> cluster{};
};

/// Servers of this process that run and that no test has at the moment. There is nothing in them
/// that a test has left: no key, script or connection, and statistics begin anew.
class SpareServers {
 public:
  struct Kind {
    bool operator==(const Kind&) const = default;
    bool tls = false;
    bool sentinel = false;
    bool cluster = false;
  };

  static SpareServers& of_this_process();

  SpareServers() = default;
  SpareServers(const SpareServers&) = delete;
  SpareServers& operator=(const SpareServers&) = delete;
  ~SpareServers();

  /// Null: there is none.
  std::unique_ptr<ServerParts> take(const Kind& kind);
  /// A server that was only ever asked for what can be undone, which is done here. Another one
  /// ends.
  void give(std::unique_ptr<ServerParts> server) noexcept;
  /// A server that has just started: what is asked from here on is what `give` looks at.
  static void begin(const ServerParts& server);

 private:
  bool is_of_another_process() const;

  const pid_t owner_ = ::getpid();  // a forked child has a copy
  std::mutex mutex_{};
  std::vector<std::unique_ptr<ServerParts>> servers_{};
};

}  // namespace redlatch::test
