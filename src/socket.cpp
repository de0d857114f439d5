#include "socket.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <system_error>

#include "io_error.hpp"
#include "poll.hpp"

namespace redlatch::detail {
namespace {

// How much later than asked for SO_RCVTIMEO may end a call: kernels count it in ticks.
constexpr std::chrono::milliseconds coarseness{20};

std::string describe(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail(const std::string& what, int error, const char* advice = "") {
  if (error == ENOMEM) throw std::bad_alloc();
  throw IoError(Errc::unreachable, what + " (" + describe(error) + ")" + advice);
}

[[noreturn]] void fail_to_connect(int error) {
  fail("cannot connect", error, "; is a server running there?");
}

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Addresses resolve(const Endpoint& endpoint) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error =
      ::getaddrinfo(endpoint.host.c_str(), std::to_string(endpoint.port).c_str(), &hints, &list);
  if (error == EAI_MEMORY) throw std::bad_alloc();
  if (error != 0) {
    throw IoError(Errc::unreachable,
                  std::string("the host name has no address: ") +
                      (error == EAI_SYSTEM ? describe(errno) : ::gai_strerror(error)));
  }
  return {list, &::freeaddrinfo};
}

/// A port of our own may be drawn as the source of a connection to itself, which then succeeds.
bool is_connected_to_itself(int fd) {
  sockaddr_storage here{};
  sockaddr_storage there{};
  socklen_t here_size = sizeof here;
  socklen_t there_size = sizeof there;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
         here_size == there_size && std::memcmp(&here, &there, here_size) == 0;
}

}  // namespace

/// By way of another constructor, so that the destructor runs, and closes, whatever fails here.
Socket::Socket(const Endpoint& endpoint, TimePoint deadline, const SocketWaiting& waiting)
    : Socket() {
  own_wait_ = waiting.usual / 2;
  busy_poll_ = waiting.busy_poll;
  cancel_ = waiting.cancel;
  if (endpoint.path.empty()) {
    connect_tcp(endpoint, deadline);
  } else {
    connect_unix(endpoint.path, deadline);
  }
  const auto seconds = std::chrono::floor<std::chrono::seconds>(own_wait_);
  const timeval wait{
      .tv_sec = seconds.count(),
      .tv_usec = std::chrono::microseconds(own_wait_ - seconds).count() + 1};  // 0 is for ever
  if (::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
      ::fcntl(fd_, F_SETFL, 0) != 0) {
    fail("cannot set the socket up", errno);
  }
}

void Socket::connect_unix(const std::string& path, TimePoint deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  connect_to(AF_UNIX, &address, sizeof address, deadline);
}

void Socket::connect_tcp(const Endpoint& endpoint, TimePoint deadline) {
  const Addresses addresses = resolve(endpoint);
  long left = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    ++left;
  }
  for (const addrinfo* address = addresses.get();; address = address->ai_next, --left) {
    const TimePoint now = BootClock::now();
    try {
      connect_to(address->ai_family, address->ai_addr, address->ai_addrlen,
                 now + (deadline - now) / left);
      break;
    } catch (const IoError&) {
      close();
      if (left == 1) throw;
    }
  }
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd_, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

void Socket::connect_to(int family, const void* address, unsigned length, TimePoint deadline) {
  fd_ = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) fail("cannot open a socket", errno);
  if (::connect(fd_, static_cast<const sockaddr*>(address), length) != 0) {
    // Interrupted by a signal, it goes on connecting all the same. A Unix socket says EAGAIN when
    // the server's queue is full, and does not go on.
    if (errno != EINPROGRESS && errno != EINTR) fail_to_connect(errno);
    if (!ready(POLLOUT, deadline)) {
      throw IoError(Errc::unreachable,
                    "cannot connect: no answer within connect_timeout; is a server running there?");
    }
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) fail_to_connect(error);
  }
  if (family != AF_UNIX && is_connected_to_itself(fd_)) fail_to_connect(ECONNREFUSED);
}

bool Socket::ready(short events, TimePoint deadline) const {
  // poll(2) passes over a negative descriptor.
  std::array<pollfd, 2> wanted{{{.fd = fd_, .events = events, .revents = 0},
                                {.fd = cancel_, .events = POLLIN, .revents = 0}}};
  const int count = poll_until(wanted, deadline);
  if (wanted[1].revents != 0) throw Cancelled();
  return count > 0;
}

void Socket::send_now(std::string_view bytes, std::size_t& sent) {
  while (sent < bytes.size()) {
    const std::string_view rest = bytes.substr(sent);
    const ssize_t count = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      sent += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      fail("the connection was lost", errno);
    }
  }
}

void Socket::send(std::string_view bytes, std::size_t& sent, TimePoint deadline) {
  for (send_now(bytes, sent); sent < bytes.size(); send_now(bytes, sent)) {
    if (!ready(POLLOUT, deadline)) {
      throw IoError(Errc::timed_out, "the server does not read what it is sent");
    }
  }
}

std::size_t Socket::receive_once(std::span<char> room, int flags) {
  const ssize_t count = ::recv(fd_, room.data(), room.size(), flags);
  if (count > 0) return static_cast<std::size_t>(count);
  if (count == 0) throw IoError(Errc::unreachable, "the server closed the connection");
  if (errno != EAGAIN && errno != EINTR) fail("the connection was lost", errno);
  return 0;
}

std::size_t Socket::receive(std::span<char> room, TimePoint deadline) {
  if (busy_poll_ > std::chrono::microseconds::zero()) {
    if (const std::size_t count = receive_busily(room, deadline); count > 0) return count;
  }
  // With time enough, recv(2) can do the waiting, which saves a system call for each answer.
  if (cancel_ < 0 && deadline - BootClock::now() > own_wait_ + coarseness) {
    if (const std::size_t count = receive_once(room, 0); count > 0) return count;
  }
  while (ready(POLLIN, deadline)) {
    if (const std::size_t count = receive_once(room, MSG_DONTWAIT); count > 0) return count;
  }
  throw IoError(Errc::timed_out, "no answer within command_timeout");
}

std::size_t Socket::receive_busily(std::span<char> room, TimePoint deadline) {
  const TimePoint end = std::min(BootClock::now() + busy_poll_, deadline);
  do {
    if (const std::size_t count = receive_once(room, MSG_DONTWAIT); count > 0) return count;
    ::sched_yield();
  } while (BootClock::now() < end);
  return 0;
}

std::size_t Socket::receive_now(std::span<char> room) { return receive_once(room, MSG_DONTWAIT); }

bool Socket::quiet() const noexcept {
  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return count < 0 && errno == EAGAIN;
}

void Socket::discard() noexcept {
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close();
}

void Socket::close() noexcept {
  const int fd = fd_.exchange(-1);
  if (fd >= 0) ::close(fd);
}

}  // namespace redlatch::detail
