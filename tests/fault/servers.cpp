#include "servers.hpp"

#include <filesystem>
#include <stdexcept>

namespace redlatch::test {

Servers::Servers(std::size_t count, bool tls) : tls_(tls) {
  // Each command is in the file before it is answered, so that it outlives the process.
  const std::vector<std::string> settings{"--appendonly",
                                          "yes",
                                          "--appendfsync",
                                          "no",
                                          "--auto-aof-rewrite-percentage",
                                          "0",
                                          "--enable-debug-command",
                                          "local",
                                          "--busy-reply-threshold",
                                          "20"};
  for (std::size_t i = 0; i < count; ++i) {
    servers_.push_back(tls ? std::make_unique<RedisServer>(RedisServer::WithTls{}, settings)
                           : std::make_unique<RedisServer>(settings));
  }
}

std::vector<std::string> Servers::targets() const {
  std::vector<std::string> targets;
  for (const auto& one : servers_) {
    targets.push_back(tls_ ? ":" + std::to_string(one->tls_port()) : one->socket());
  }
  return targets;
}

std::optional<Trouble> Servers::begin(Fault fault, std::size_t number) {
  RedisServer& server = *servers_[number];
  Trouble trouble{.incident = {.fault = fault, .began = HistoryClock::now()}};
  if (fault == Fault::server_stopped) {
    server.pause();
    trouble.end = [&server] {
      const bool landed = !server.runs();
      server.resume();
      return landed;
    };
  } else if (fault == Fault::server_restarted || fault == Fault::server_restarted_empty) {
    const bool forgets = fault == Fault::server_restarted_empty;
    const bool had_keys = !forgets || RawClient(server.socket()).command({"DBSIZE"}).integer > 0;
    server.kill();
    if (forgets) std::filesystem::remove_all(server.directory() + "/appendonlydir");
    trouble.end = [&server, had_keys] {
      server.start();
      return had_keys;
    };
  } else {
    return std::nullopt;
  }
  trouble.incident.lossy_until = HistoryClock::now();
  return trouble;
}

void Servers::listen_to_all() {
  listeners_.clear();
  for (const auto& one : servers_) {
    if (!one->runs()) continue;
    try {
      RawClient client(one->socket());
      client.command({"PSUBSCRIBE", "*"});
      listeners_.push_back(std::move(client));
    } catch (const std::runtime_error&) {
      // It is away, or has something else to do.
    }
  }
}

}  // namespace redlatch::test
