#include "loopback.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <system_error>

namespace redlatch::test {
namespace {

[[noreturn]] void fail(int fd) {
  const int error = errno;
  if (fd >= 0) ::close(fd);
  throw std::system_error(error, std::generic_category(), "listen");
}

sockaddr_un address_of(const std::string& unix_path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  unix_path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

sockaddr_in loopback_address(const std::string& port) noexcept {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port.c_str())));
  return address;
}

}  // namespace

ReservedPort::ReservedPort(const std::vector<std::string>& addresses) {
  for (int tries = 0; tries < 100; ++tries) {
    if (reserve(addresses)) return;
    close();
  }
  throw std::system_error(EADDRINUSE, std::generic_category(), "reserve a port");
}

ReservedPort::~ReservedPort() { close(); }

bool ReservedPort::reserve(const std::vector<std::string>& addresses) {
  for (const std::string& text : addresses) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) fail(fd);
    sockets_.push_back(fd);
    sockaddr_in address = loopback_address(std::to_string(number_));
    ::inet_pton(AF_INET, text.c_str(), &address.sin_addr);
    socklen_t size = sizeof address;
    // For the kernel to choose a port that is free altogether, the option must not be set yet.
    const int on = 1;
    if (number_ != 0) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0) return false;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    number_ = ntohs(address.sin_port);
  }
  return true;
}

void ReservedPort::close() noexcept {
  for (const int fd : sockets_) ::close(fd);
  sockets_.clear();
  number_ = 0;
}

int listen_on_loopback(std::uint16_t& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(fd, 64) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail(fd);
  }
  port = ntohs(address.sin_port);
  return fd;
}

int listen_on(const std::string& unix_path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_un address = address_of(unix_path);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 64) != 0) {
    fail(fd);
  }
  return fd;
}

int connect_to(const std::string& target) noexcept {
  const bool is_port = target.starts_with(':');
  const int fd = ::socket(is_port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int result = -1;
  if (is_port) {
    const sockaddr_in address = loopback_address(target.substr(1));
    result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } else {
    const sockaddr_un address = address_of(target);
    result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  if (result == 0) return fd;
  ::close(fd);
  return -1;
}

bool send_all(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void reset_on_close(int fd) noexcept {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace redlatch::test
