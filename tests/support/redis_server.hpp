#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster_of_one.hpp"
#include "loopback.hpp"
#include "sentinel_server.hpp"
#include "server_process.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {

/// A server of the test's own: on a free loopback port and on a Unix socket, with a data directory
/// of its own and no persistence. It ends with the object, by process id, and with the test
/// program. See ServerProcess for the binary. With $REDLATCH_TEST_TLS set, every server has a port
/// for TLS; with $REDLATCH_TEST_SENTINEL, a Sentinel of its own, which `url` leads to; with
/// $REDLATCH_TEST_CLUSTER, it is a ClusterOfOne, whose seed `url` leads to.
class RedisServer {
 public:
  /// More settings, as on the server's command line: {"--maxclients", "10"}.
  explicit RedisServer(std::vector<std::string> settings = {});
  /// With a port for TLS and the certificate of `own_certificates`, which `url` leads to.
  struct WithTls {};
  explicit RedisServer(WithTls tls, std::vector<std::string> settings = {});
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string url() const;
  /// What redlatch calls the server that `url` leads to.
  std::string name() const;
  std::string unix_url() const { return "unix://" + socket(); }
  std::uint16_t port() const noexcept { return port_.number(); }
  /// 0: none.
  std::uint16_t tls_port() const noexcept { return tls_port_ ? tls_port_->number() : 0; }
  std::string socket() const { return directory_.path() + "/redis.sock"; }
  const std::string& directory() const noexcept { return directory_.path(); }

  /// Comes back when the server answers; on the same port and socket after a `kill`.
  void start();
  /// SIGKILL, and waits for its end. Nothing is kept.
  void kill() noexcept { process_.kill(); }
  /// SIGSTOP and SIGCONT.
  void pause() const { process_.pause(); }
  void resume() const { process_.resume(); }
  /// Whether it was neither killed nor stopped.
  bool runs() const { return process_.runs(); }

 private:
  void add_tls(std::vector<std::string>& arguments) const;
  bool answers() const;
  /// As the node of a cluster.
  void make_ready() const;

  TemporaryDirectory directory_{};
  std::vector<std::string> settings_;
  ReservedPort port_{};
  std::optional<ReservedPort> tls_port_{};
  ServerProcess process_{};
  std::unique_ptr<SentinelServer> sentinel_{};
  std::unique_ptr<ClusterOfOne> cluster_{};
};

/// A loopback port that no process listens on at the moment.
std::uint16_t free_port();

}  // namespace redlatch::test
