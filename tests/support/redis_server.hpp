#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "temporary_directory.hpp"

namespace redlatch::test {

/// A server of the test's own: on a free loopback port and on a Unix socket, with a data directory
/// of its own and no persistence. It ends with the object, by process id, and with the test
/// program. The binary is $REDLATCH_SERVER, else redis-server, else valkey-server. With
/// $REDLATCH_TEST_TLS set, every server has a port for TLS.
class RedisServer {
 public:
  /// More settings, as on the server's command line: {"--maxclients", "10"}.
  explicit RedisServer(std::vector<std::string> settings = {});
  /// With a port for TLS and the certificate of `own_certificates`, which `url` leads to.
  struct WithTls {};
  explicit RedisServer(WithTls tls, std::vector<std::string> settings = {});
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;
  ~RedisServer() { kill(); }

  std::string url() const {
    return tls_port_ == 0 ? "redis://127.0.0.1:" + std::to_string(port_)
                          : "rediss://127.0.0.1:" + std::to_string(tls_port_);
  }
  std::string unix_url() const { return "unix://" + socket(); }
  std::uint16_t port() const noexcept { return port_; }
  std::uint16_t tls_port() const noexcept { return tls_port_; }
  std::string socket() const { return directory_.path() + "/redis.sock"; }
  const std::string& directory() const noexcept { return directory_.path(); }

  /// Comes back when the server answers; on the same port and socket after a `kill`.
  void start();
  /// SIGKILL, and waits for its end. Nothing is kept.
  void kill() noexcept;
  /// SIGSTOP and SIGCONT.
  void pause() const;
  void resume() const;

 private:
  void begin();
  bool spawn();
  void add_tls(std::vector<std::string>& arguments) const;
  bool answers() const;

  TemporaryDirectory directory_{};
  std::vector<std::string> settings_;
  std::uint16_t port_ = 0;
  bool has_tls_ = false;
  std::uint16_t tls_port_ = 0;  // 0: none
  pid_t pid_ = -1;
};

/// A loopback port that nobody listens on at the moment.
std::uint16_t free_port();

}  // namespace redlatch::test
