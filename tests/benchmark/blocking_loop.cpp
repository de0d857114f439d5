#include "blocking_loop.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <initializer_list>
#include <stdexcept>
#include <utility>

#include <redlatch/token.hpp>

#include "bare_loop.hpp"

namespace redlatch::benchmark {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(std::string("blocking loop: ") + what);
}

int connected_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  ::close(fd);
  fail("cannot connect");
}

void append(std::string& command, char type, std::size_t number) {
  command += type;
  command += std::to_string(number);
  command += "\r\n";
}

std::string written(std::initializer_list<std::string_view> words) {
  std::string command;
  append(command, '*', words.size());
  for (const std::string_view word : words) {
    append(command, '$', word.size());
    command += word;
    command += "\r\n";
  }
  return command;
}

}  // namespace

void BlockingLoop::Free::operator()(ssl_ctx_st* context) const noexcept { SSL_CTX_free(context); }
void BlockingLoop::Free::operator()(ssl_st* connection) const noexcept { SSL_free(connection); }

BlockingLoop::BlockingLoop(std::uint16_t port, const std::string& ca_file, std::string key)
    : fd_(connected_to(port)), key_(std::move(key)), reply_(512, '\0') {
  if (!ca_file.empty()) secure(ca_file);
  const std::string_view loaded = ask(written({"SCRIPT", "LOAD", release_script}));
  if (!loaded.starts_with("$40\r\n")) fail("no scripts");
  sha1_ = loaded.substr(5, 40);
}

BlockingLoop::~BlockingLoop() { ::close(fd_); }

void BlockingLoop::secure(const std::string& ca_file) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_load_verify_locations(context_.get(), ca_file.c_str(), nullptr);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  connection_.reset(SSL_new(context_.get()));
  if (SSL_set_fd(connection_.get(), fd_) != 1 || SSL_connect(connection_.get()) != 1) {
    fail("the handshake failed");
  }
}

/// The reply, up to its end, as the server sends all of a short one at once.
std::string_view BlockingLoop::ask(std::string_view command) {
  const int size = static_cast<int>(command.size());
  const int room = static_cast<int>(reply_.size());
  ssize_t count = 0;
  if (connection_ != nullptr) {
    if (SSL_write(connection_.get(), command.data(), size) != size) fail("cannot write");
    count = SSL_read(connection_.get(), reply_.data(), room);
  } else {
    if (::send(fd_, command.data(), command.size(), MSG_NOSIGNAL) != size) fail("cannot write");
    count = ::recv(fd_, reply_.data(), reply_.size(), 0);
  }
  if (count <= 0) fail("no answer");
  return std::string_view(reply_).substr(0, static_cast<std::size_t>(count));
}

void BlockingLoop::acquire() {
  token_ = make_token();  // a new one for each lease, as it has to be
  if (ask(written({"SET", key_, token_, "NX", "PX", "10000"})) != "+OK\r\n") fail("no lock");
}

void BlockingLoop::release() {
  if (ask(written({"EVALSHA", sha1_, "1", key_, token_})) != ":1\r\n") fail("lost the lock");
}

}  // namespace redlatch::benchmark
