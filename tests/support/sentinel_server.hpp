#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loopback.hpp"
#include "server_process.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {

/// A process of `redis-server --sentinel`, on a free loopback port and a Unix socket.
class SentinelServer {
 public:
  explicit SentinelServer(bool tls) : tls_(tls) {}

  /// Writes its configuration, which it changes itself later on.
  void configure(const std::vector<std::string>& lines);
  /// Comes back when it answers; with what it knew after a `kill`.
  void start();
  void kill() noexcept { process_.kill(); }
  void pause() const { process_.pause(); }
  void resume() const { process_.resume(); }
  bool runs() const { return process_.runs(); }

  std::uint16_t port() const noexcept { return port_.number(); }
  std::string socket() const { return directory_.path() + "/sentinel.sock"; }
  /// What it has written to its log.
  std::string log() const;

 private:
  bool answers() const;

  TemporaryDirectory directory_{};
  ReservedPort port_{};
  bool tls_;
  ServerProcess process_{};
};

}  // namespace redlatch::test
