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

RedisServer::RedisServer(std::vector<std::string> settings)
    : RedisServer(SpareServers::Kind{.tls = std::getenv("REDLATCH_TEST_TLS") != nullptr,
                                     .sentinel = std::getenv("REDLATCH_TEST_SENTINEL") != nullptr,
                                     .cluster = std::getenv("REDLATCH_TEST_CLUSTER") != nullptr},
                  std::move(settings)) {}

RedisServer::RedisServer(WithTls, std::vector<std::string> settings)
    : RedisServer(SpareServers::Kind{.tls = true}, std::move(settings)) {}

RedisServer::RedisServer(const SpareServers::Kind& kind, std::vector<std::string> settings)
    : settings_(std::move(settings)), is_for_one_test_(!settings_.empty()) {
  if (!is_for_one_test_) parts_ = SpareServers::of_this_process().take(kind);
  if (parts_ != nullptr) return;
  parts_ = std::make_unique<ServerParts>();
  begin(kind);
  if (!is_for_one_test_) SpareServers::begin(*parts_);
}

RedisServer::~RedisServer() {
  if (!is_for_one_test_) SpareServers::of_this_process().give(std::move(parts_));
}

void RedisServer::begin(const SpareServers::Kind& kind) {
  if (kind.tls) parts_->tls_port.emplace();
  if (kind.cluster) parts_->cluster = std::make_unique<ClusterOfOne>(port(), tls_port());
  launch();
  if (!kind.sentinel) return;
  parts_->sentinel = std::make_unique<SentinelServer>(false);
  // It never takes the server for dead: there is no replica that could replace it.
  parts_->sentinel->configure(
      {"sentinel monitor " + service() + " 127.0.0.1 " + std::to_string(port()) + " 1",
       "sentinel down-after-milliseconds " + service() + " 3600000"});
  parts_->sentinel->start();
}

std::string RedisServer::service() const { return "test-" + std::to_string(port()); }

std::string RedisServer::url() const {
  const std::string host = "127.0.0.1:";
  if (parts_->sentinel) {
    return "redis-sentinel://" + host + std::to_string(parts_->sentinel->port()) + "#" + service();
  }
  if (parts_->cluster) {
    const std::string scheme = parts_->tls_port ? "rediss-cluster://" : "redis-cluster://";
    return scheme + host + std::to_string(parts_->cluster->seed_port());
  }
  return parts_->tls_port ? "rediss://" + host + std::to_string(tls_port())
                          : "redis://" + host + std::to_string(port());
}

std::string RedisServer::name() const {
  std::string name = url();
  if (parts_->cluster) return name;
  return name.insert(std::min(name.find('#'), name.size()), "/0");
}

void RedisServer::start() {
  is_for_one_test_ = true;
  launch();
}

void RedisServer::launch() {
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
  if (parts_->cluster) {
    parts_->cluster->prepare(directory());
    add(parts_->cluster->settings());
  }
  add(settings_);
  parts_->process.start(std::move(arguments));
  eventually([&] { return parts_->process.has_ended() || answers(); });
  if (parts_->process.has_ended() || !answers()) {
    throw std::runtime_error("the server does not start:\n" + text_of(directory() + "/log"));
  }
  if (parts_->cluster) make_ready();
}

void RedisServer::make_ready() const {
  RawClient administrator(socket());
  const auto password = std::ranges::find(settings_, "--requirepass");
  if (password != settings_.end()) administrator.command({"AUTH", *std::next(password)});
  parts_->cluster->make_ready(administrator);
}

void RedisServer::add_tls(std::vector<std::string>& arguments) const {
  if (!parts_->tls_port) return;
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
