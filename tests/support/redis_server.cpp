#include "redis_server.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
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

std::string find_program() {
  if (const char* chosen = std::getenv("REDLATCH_SERVER"); chosen != nullptr) return chosen;
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "/usr/bin";
  for (const char* name : {"redis-server", "valkey-server"}) {
    for (std::size_t from = 0; from <= path.size();) {
      const std::size_t to = std::min(path.find(':', from), path.size());
      const std::string candidate = path.substr(from, to - from) + "/" + name;
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
      from = to + 1;
    }
  }
  throw std::runtime_error("no redis-server or valkey-server in PATH; ./dev install-deps gets one");
}

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
    : settings_(std::move(settings)), has_tls_(std::getenv("REDLATCH_TEST_TLS") != nullptr) {
  begin();
}

RedisServer::RedisServer(WithTls, std::vector<std::string> settings)
    : settings_(std::move(settings)), has_tls_(true) {
  begin();
}

void RedisServer::begin() {
  // Another program may take the port before the server does.
  for (int tries = 0; tries < 10; ++tries) {
    port_ = free_port();
    if (has_tls_) tls_port_ = free_port();
    if (spawn()) return;
    kill();
  }
  throw std::runtime_error("the server does not start:\n" + text_of(directory() + "/log"));
}

void RedisServer::start() {
  if (!spawn()) {
    throw std::runtime_error("the server does not start again:\n" + text_of(directory() + "/log"));
  }
}

bool RedisServer::spawn() {
  std::vector<std::string> arguments{find_program(),
                                     "--port",
                                     std::to_string(port_),
                                     "--bind",
                                     "127.0.0.1",
                                     "--unixsocket",
                                     socket(),
                                     "--dir",
                                     directory(),
                                     "--logfile",
                                     directory() + "/log",
                                     "--save",
                                     "",
                                     "--appendonly",
                                     "no"};
  add_tls(arguments);
  arguments.insert(arguments.end(), settings_.begin(), settings_.end());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  bool ended = false;
  const bool up = eventually([&] {
    ended = ::waitpid(pid_, nullptr, WNOHANG) == pid_;
    return ended || answers();
  });
  if (ended) pid_ = -1;
  return up && !ended;
}

void RedisServer::add_tls(std::vector<std::string>& arguments) const {
  if (tls_port_ == 0) return;
  const OwnCertificates& own = own_certificates();
  for (const std::string& word :
       {std::string("--tls-port"), std::to_string(tls_port_), std::string("--tls-cert-file"),
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

void RedisServer::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void RedisServer::pause() const {
  ::kill(pid_, SIGSTOP);
  int status = 0;
  ::waitpid(pid_, &status, WUNTRACED);
}

void RedisServer::resume() const { ::kill(pid_, SIGCONT); }

}  // namespace redlatch::test
