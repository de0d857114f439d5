#include "cluster_node.hpp"

#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "certificates.hpp"
#include "eventually.hpp"

namespace redlatch::test {

void ClusterNode::configure(const std::string& nodes_conf) {
  std::ofstream(directory_.path() + "/nodes.conf") << nodes_conf;
}

void ClusterNode::launch(const std::vector<std::string>& more) {
  const std::string number = std::to_string(port());
  std::vector<std::string> arguments{"--port",
                                     options_.tls ? "0" : number,
                                     "--bind",
                                     "127.0.0.1",
                                     "--unixsocket",
                                     socket(),
                                     "--dir",
                                     directory_.path(),
                                     "--logfile",
                                     directory_.path() + "/log",
                                     "--save",
                                     "",
                                     "--appendonly",
                                     "no",
                                     "--cluster-enabled",
                                     "yes",
                                     "--cluster-port",
                                     std::to_string(bus_port())};
  const auto add = [&](const std::vector<std::string>& words) {
    arguments.insert(arguments.end(), words.begin(), words.end());
  };
  if (options_.tls) {
    const OwnCertificates& own = own_certificates();
    add({"--tls-port", number, "--tls-cert-file", own.server.certificate, "--tls-key-file",
         own.server.key, "--tls-ca-cert-file", own.issuer, "--tls-auth-clients", "no",
         "--tls-replication", "yes", "--tls-cluster", "yes"});
  }
  if (const std::string& password = options_.password; !password.empty()) {
    add({"--requirepass", password, "--masterauth", password});
  }
  add(options_.settings);
  add(more);
  process_.start(std::move(arguments));
}

void ClusterNode::wait_until_it_answers() const {
  eventually([&] { return process_.has_ended() || answers(); });
  if (process_.has_ended() || !answers()) {
    throw std::runtime_error("the node of a cluster does not start:\n" + log());
  }
}

std::string ClusterNode::log() const {
  std::ifstream file(directory_.path() + "/log");
  return {std::istreambuf_iterator<char>(file), {}};
}

RawClient ClusterNode::client() const {
  if (!runs()) throw std::runtime_error("the node does not run");
  RawClient client(socket());
  if (options_.password.empty()) return client;
  if (const RawReply reply = client.command({"AUTH", options_.password}); reply.error) {
    throw std::runtime_error(reply.text);
  }
  return client;
}

bool ClusterNode::answers() const {
  try {
    return client().command({"PING"}).text == "PONG";
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace redlatch::test
