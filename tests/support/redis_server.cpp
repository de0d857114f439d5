#include "redis_server.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "certificates.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"

namespace redlatch::test {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool good = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  if (!good) throw std::system_error(errno, std::generic_category(), "no free port");
  return ntohs(address.sin_port);
}

RedisServer::RedisServer(std::vector<std::string> settings) : settings_(std::move(settings)) {
  if (std::getenv("REDLATCH_TEST_TLS") != nullptr) tls_port_.emplace();
  if (std::getenv("REDLATCH_TEST_CLUSTER") != nullptr) {
    cluster_ = std::make_unique<ClusterOfOne>(port(), tls_port());
  }
  start();
  if (std::getenv("REDLATCH_TEST_SENTINEL") == nullptr) return;
  sentinel_ = std::make_unique<SentinelServer>(false);
  // It never takes the server for dead: there is no replica that could replace it.
  sentinel_->configure({"sentinel monitor test 127.0.0.1 " + std::to_string(port()) + " 1",
                        "sentinel down-after-milliseconds test 3600000"});
  sentinel_->start();
}

std::string RedisServer::url() const {
  const std::string host = "127.0.0.1:";
  if (sentinel_) return "redis-sentinel://" + host + std::to_string(sentinel_->port()) + "#test";
  if (cluster_) {
    const std::string scheme = tls_port_ ? "rediss-cluster://" : "redis-cluster://";
    return scheme + host + std::to_string(cluster_->seed_port());
  }
  return tls_port_ ? "rediss://" + host + std::to_string(tls_port())
                   : "redis://" + host + std::to_string(port());
}

RedisServer::RedisServer(WithTls, std::vector<std::string> settings)
    : settings_(std::move(settings)) {
  tls_port_.emplace();
  start();
}

std::string RedisServer::name() const {
  std::string name = url();
  if (cluster_) return name;
  return name.insert(std::min(name.find('#'), name.size()), "/0");
}

void RedisServer::start() {
  std::vector<std::string> arguments{"--port",       std::to_string(port()),
                                     "--bind",       "127.0.0.1",
                                     "--unixsocket", socket(),
                                     "--dir",        directory(),
                                     "--logfile",    directory() + "/log",
                                     "--save",       "",
                                     "--appendonly", "no"};
  add_tls(arguments);
  const auto add = [&](const std::vector<std::string>& words) {
    arguments.insert(arguments.end(), words.begin(), words.end());
  };
  if (cluster_) {
    cluster_->prepare(directory());
    add(cluster_->settings());
  }
  add(settings_);
  process_.start(std::move(arguments));
  eventually([&] { return process_.has_ended() || answers(); });
  if (process_.has_ended() || !answers()) {
    throw std::runtime_error("the server does not start:\n" + text_of(directory() + "/log"));
  }
  if (cluster_) make_ready();
}

void RedisServer::make_ready() const {
  RawClient administrator(socket());
  const auto password = std::ranges::find(settings_, "--requirepass");
  if (password != settings_.end()) administrator.command({"AUTH", *std::next(password)});
  cluster_->make_ready(administrator);
}

void RedisServer::add_tls(std::vector<std::string>& arguments) const {
  if (!tls_port_) return;
  const OwnCertificates& own = own_certificates();
  for (const std::string& word :
       {std::string("--tls-port"), std::to_string(tls_port()), std::string("--tls-cert-file"),
        own.server.certificate, std::string("--tls-key-file"), own.server.key,
        std::string("--tls-ca-cert-file"), own.issuer, std::string("--tls-auth-clients"),
        std::string("no")}) {
    arguments.push_back(word);
  }
}

/// The process that answers is ours, not another one on the same port.
bool RedisServer::answers() const {
  try {
    RawClient client(socket());
    const RawReply reply = client.command({"PING"});
    return reply.text == "PONG" || reply.text.starts_with("NOAUTH") ||
           reply.text.starts_with("LOADING");
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace redlatch::test
