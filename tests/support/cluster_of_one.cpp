#include "cluster_of_one.hpp"

#include <fstream>
#include <stdexcept>

namespace redlatch::test {
namespace {

/// No node takes another one for down: there is no replica that could replace it.
std::vector<std::string> patience() { return {"--cluster-node-timeout", "3600000"}; }

}  // namespace

ClusterOfOne::ClusterOfOne(std::uint16_t port, std::uint16_t tls_port)
    : port_(port), tls_port_(tls_port), seed_({.tls = tls_port != 0, .settings = patience()}) {
  // The two are not connected, as a server that starts again has no slots for some milliseconds and
  // would say so.
  constexpr std::uint16_t nothing_listens_there = 1;
  ClusterMember known = server();
  known.bus_port = nothing_listens_there;
  seed_.configure(nodes_conf(
      {{.id = seed_.id(), .port = seed_.port(), .bus_port = seed_.bus_port()}, known}, 0));
  seed_.start();
}

void ClusterOfOne::prepare(const std::string& directory) const {
  std::ofstream(directory + "/nodes.conf") << nodes_conf({server()}, 0);
}

std::vector<std::string> ClusterOfOne::settings() const {
  std::vector<std::string> settings = patience();
  const auto add = [&](const std::vector<std::string>& words) {
    settings.insert(settings.end(), words.begin(), words.end());
  };
  add({"--cluster-enabled", "yes", "--cluster-port", std::to_string(bus_port_.number())});
  add({"--port", "0", "--cluster-announce-port", std::to_string(port_)});
  if (tls_port_ == 0) return settings;
  add({"--tls-port", "0", "--cluster-announce-tls-port", std::to_string(tls_port_)});
  add({"--tls-cluster", "yes"});
  return settings;
}

void ClusterOfOne::make_ready(RawClient& server) const {
  take_slots(server);
  std::vector<std::string> words{"CONFIG", "SET", "port", std::to_string(port_)};
  if (tls_port_ != 0) words.insert(words.end(), {"tls-port", std::to_string(tls_port_)});
  if (const RawReply reply = server.command(words); reply.error) {
    throw std::runtime_error(reply.text);
  }
}

ClusterMember ClusterOfOne::server() const {
  return {.id = cluster_id(port_),
          .port = tls_port_ != 0 ? tls_port_ : port_,
          .bus_port = bus_port_.number(),
          .slots = "0-16383"};
}

}  // namespace redlatch::test
