#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cluster_start.hpp"
#include "loopback.hpp"
#include "raw_client.hpp"
#include "server_process.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {

/// A process of `redis-server --cluster-enabled yes` (7.0 or newer) with a data directory of its
/// own and no persistence, on a Unix socket and on two free loopback ports: for clients and for the
/// cluster's bus.
class ClusterNode {
 public:
  struct Options {
    /// For clients and for what nodes say to each other.
    bool tls = false;
    /// Of the default user; empty: none.
    std::string password{};
    /// More settings, as on the server's command line.
    std::vector<std::string> settings{};
  };
  explicit ClusterNode(Options options) : options_(std::move(options)) {}

  /// What it is told of its cluster (`nodes_conf`). It changes that file itself later on.
  void configure(const std::string& nodes_conf);
  /// Does not wait until it answers, so that several can start at once. After a `kill` it starts
  /// with what it knew of the cluster and with no data; see `wait_until_it_answers`. `more`:
  /// settings for this time only.
  void launch(const std::vector<std::string>& more = {});
  /// Throws std::runtime_error when it ends instead.
  void wait_until_it_answers() const;
  /// Both. A primary says CLUSTERDOWN for two more seconds.
  void start() {
    launch();
    wait_until_it_answers();
  }
  /// SIGKILL, and waits for its end.
  void kill() noexcept { process_.kill(); }
  /// SIGSTOP and SIGCONT.
  void pause() const { process_.pause(); }
  void resume() const { process_.resume(); }
  /// Whether it was neither killed nor stopped.
  bool runs() const { return process_.runs(); }

  std::string id() const { return cluster_id(port()); }
  std::uint16_t port() const noexcept { return port_.number(); }
  std::uint16_t bus_port() const noexcept { return bus_port_.number(); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port()); }
  std::string socket() const { return directory_.path() + "/redis.sock"; }
  /// -1: it does not run.
  pid_t pid() const noexcept { return process_.pid(); }
  /// What it has written to its log.
  std::string log() const;

  /// Logged in, over the Unix socket. Throws std::runtime_error for one that does not run.
  RawClient client() const;

 private:
  bool answers() const;

  Options options_;
  TemporaryDirectory directory_{};
  ReservedPort port_{};
  ReservedPort bus_port_{};
  ServerProcess process_{};
};

}  // namespace redlatch::test
