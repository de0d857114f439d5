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

BlockingLoop::BlockingLoop(std::uint16_t port, const std::string& ca_file, Release release,
                           std::vector<std::string> keys)
    : fd_(connected_to(port)), release_(release), keys_(std::move(keys)), room_(512, '\0') {
  if (!ca_file.empty()) secure(ca_file);
  send(written({"SCRIPT", "LOAD", release_script}));
  sha1_ = receive(sizeof "$40\r\n" - 1 + 40 + 2).substr(5, 40);
}

BlockingLoop::~BlockingLoop() {
  try {
    expect("", "no release");
  } catch (const std::exception&) {
    // The server is gone; what is measured next says so.
  }
  ::close(fd_);
}

void BlockingLoop::secure(const std::string& ca_file) {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_load_verify_locations(context_.get(), ca_file.c_str(), nullptr);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  connection_.reset(SSL_new(context_.get()));
  if (SSL_set_fd(connection_.get(), fd_) != 1 || SSL_connect(connection_.get()) != 1) {
    fail("the handshake failed");
  }
}

void BlockingLoop::send(std::string_view command) {
  const int size = static_cast<int>(command.size());
  const auto sent = connection_ == nullptr
                        ? ::send(fd_, command.data(), command.size(), MSG_NOSIGNAL)
                        : SSL_write(connection_.get(), command.data(), size);
  if (sent != size) fail("cannot send");
}

std::string_view BlockingLoop::receive(std::size_t size) {
  std::size_t received = 0;
  while (received < size) {
    char* const next = room_.data() + received;
    const std::size_t left = room_.size() - received;
    const auto count = connection_ == nullptr
                           ? ::recv(fd_, next, left, 0)
                           : SSL_read(connection_.get(), next, static_cast<int>(left));
    if (count <= 0) fail("no answer");
    received += static_cast<std::size_t>(count);
  }
  return std::string_view(room_).substr(0, received);
}

void BlockingLoop::expect(std::string_view reply, const char* failure) {
  const std::string all = std::exchange(owed_, {}).append(reply);
  if (receive(all.size()) != all) fail(failure);
}

void BlockingLoop::acquire() {
  token_ = make_token();  // a new one for each cycle, as it has to be
  std::string commands;
  std::string replies;
  for (const std::string& key : keys_) {
    commands += written({"SET", key, token_, "NX", "PX", "10000"});
    replies += "+OK\r\n";
  }
  send(commands);
  expect(replies, "no lock");
}

void BlockingLoop::release() {
  std::string commands;
  for (const std::string& key : keys_) {
    commands += written({"EVALSHA", sha1_, "1", key, token_});
    owed_ += ":1\r\n";
  }
  send(commands);
  if (release_ == Release::waited_for) expect("", "lost the lock");
}

}  // namespace redlatch::benchmark
