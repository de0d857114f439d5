#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "spare_servers.hpp"

namespace redlatch::test {

/// A server of the test's own: on a free loopback port and on a Unix socket, with a data directory
/// of its own and no persistence. It ends with the object, by process id, and with the test
/// program. But a start costs more than most tests, so one without settings of its own that has
/// nothing left of what a test did to it (SpareServers) is the next test's instead, and as good as
/// new. See ServerProcess for the binary. With $REDLATCH_TEST_TLS set, every server has a port
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
  ~RedisServer();

  std::string url() const;
  /// What redlatch calls the server that `url` leads to.
  std::string name() const;
  std::string unix_url() const { return "unix://" + socket(); }
  std::uint16_t port() const noexcept { return parts_->port.number(); }
  /// 0: none.
  std::uint16_t tls_port() const noexcept {
    return parts_->tls_port ? parts_->tls_port->number() : 0;
  }
  std::string socket() const { return parts_->socket(); }
  const std::string& directory() const noexcept { return parts_->directory.path(); }

  /// Comes back when the server answers; on the same port and socket after a `kill`.
  void start();
  /// SIGKILL, and waits for its end. Nothing is kept.
  void kill() noexcept {
    is_for_one_test_ = true;
    parts_->process.kill();
  }
  /// SIGSTOP and SIGCONT.
  void pause() const {
    is_for_one_test_ = true;
    parts_->process.pause();
  }
  void resume() const { parts_->process.resume(); }
  /// Whether it was neither killed nor stopped.
  bool runs() const { return parts_->process.runs(); }

 private:
  RedisServer(const SpareServers::Kind& kind, std::vector<std::string> settings);
  void begin(const SpareServers::Kind& kind);
  void launch();
  /// The Sentinels of two services of one name, of a server and its replica, would take each other
  /// for Sentinels of one primary, and disagree which that is.
  std::string service() const;
  void add_tls(std::vector<std::string>& arguments) const;
  bool answers() const;
  /// As the node of a cluster.
  void make_ready() const;

  std::vector<std::string> settings_;
  mutable std::atomic<bool> is_for_one_test_;
  std::unique_ptr<ServerParts> parts_;
};

/// A loopback port that no process listens on at the moment.
std::uint16_t free_port();

}  // namespace redlatch::test
