#include "net/socket.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>
#include <system_error>

#include "base/io_error.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {
namespace {

// How much later than asked for SO_RCVTIMEO may end a call: kernels count it in ticks.
constexpr std::chrono::milliseconds coarseness{20};

/// Linux sends lost packets again after 0.2, 0.6, 1.4 and 3 s.
constexpr std::chrono::seconds min_user_timeout{5};

std::string describe(int error) { return std::generic_category().message(error); }

[[noreturn]] void fail(const std::string& what, int error, const char* advice = "") {
  if (error == ENOMEM) throw std::bad_alloc();
  throw IoError(Errc::unreachable, what + " (" + describe(error) + ")" + advice);
}

[[noreturn]] void fail_to_connect(int error) {
  fail("cannot connect", error, "; is a server running there?");
}

/// Linux may draw the port that a client connects to as the client's own source port, when no
/// server listens there; the connection to itself then succeeds.
bool is_connected_to_itself(int fd) {
  sockaddr_storage here{};
  sockaddr_storage there{};
  socklen_t here_size = sizeof here;
  socklen_t there_size = sizeof there;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
         here_size == there_size && std::memcmp(&here, &there, here_size) == 0;
}

void set_option(int fd, int level, int name, int value) noexcept {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

/// By the system's defaults, a connection whose packets get lost lasts for a quarter of an hour
/// when something was sent, and for ever when not.
void set_up_tcp(int fd, std::chrono::milliseconds command_timeout) noexcept {
  // Probes also keep a NAT's or a firewall's entry for an idle connection alive.
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  // Later than any caller waits for an answer: a clean-up behind a command in doubt is still
  // delivered in order after a few seconds of lost packets.
  const auto time = std::max<std::chrono::milliseconds>(2 * command_timeout, min_user_timeout);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(time.count()));
}

}  // namespace

void Socket::open(int family) {
  assert(fd_ < 0);
  fd_ = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) fail("cannot open a socket", errno);
  family_ = family;
  // From the first byte on: nothing of the peer's acknowledges the last one of a TLS handshake.
  if (family != AF_UNIX) set_option(fd_, IPPROTO_TCP, TCP_NODELAY, 1);
}

Socket::Progress Socket::connect(const SocketAddress& address) {
  if (fd_ < 0) open(address.family());
  if (::connect(fd_, address.get(), address.size) != 0) {
    if (errno == EAGAIN && family_ == AF_UNIX) return Progress::crowded;
    // Interrupted by a signal, it goes on connecting all the same.
    if (errno != EINPROGRESS && errno != EINTR) fail_to_connect(errno);
    return Progress::under_way;
  }
  finish_connecting();
  return Progress::done;
}

void Socket::finish_connecting() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) fail_to_connect(error);
  if (family_ != AF_UNIX && is_connected_to_itself(fd_)) fail_to_connect(ECONNREFUSED);
}

void Socket::begin_waiting(const Waiting& waiting) {
  // recv(2) may wait by itself for half of the usual time; a caller with less time left polls
  // first. So the option is set once for each connection, and no call is late by it.
  own_wait_ = waiting.usual / 2;
  busy_poll_ = waiting.busy_poll;
  cancel_ = waiting.cancel;
  if (family_ != AF_UNIX) set_up_tcp(fd_, waiting.usual);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(own_wait_);
  const timeval wait{
      .tv_sec = seconds.count(),
      .tv_usec = std::chrono::microseconds(own_wait_ - seconds).count() + 1};  // 0 is for ever
  if (::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0 ||
      ::fcntl(fd_, F_SETFL, 0) != 0) {
    fail("cannot set the socket up", errno);
  }
}

/// Which of the events have come; none when the deadline is over.
short Socket::ready(short events, TimePoint deadline) const {
  // poll(2) passes over a negative descriptor.
  std::array<pollfd, 2> wanted{{{.fd = fd_, .events = events, .revents = 0},
                                {.fd = cancel_, .events = POLLIN, .revents = 0}}};
  poll_until(wanted, deadline);
  if (wanted[1].revents != 0) throw Cancelled();
  return wanted[0].revents;
}

void Socket::send_now(std::string_view bytes, std::size_t& sent) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      sent += static_cast<std::size_t>(count);
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      fail("the connection was lost", errno);
    }
  }
}

bool Socket::wait_for_room(TimePoint deadline) {
  const short events = ready(POLLOUT | POLLIN, deadline);
  if (events == 0) throw IoError(Errc::timed_out, "the server does not read what it is sent");
  return (events & POLLIN) != 0;
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
  while (ready(POLLIN, deadline) != 0) {
    if (const std::size_t count = receive_once(room, MSG_DONTWAIT); count > 0) return count;
  }
  throw IoError(Errc::timed_out, "no answer within command_timeout");
}

std::size_t Socket::receive_busily(std::span<char> room, TimePoint deadline) {
  const TimePoint end = std::min(BootClock::now() + busy_poll_, deadline);
  do {
    if (const std::size_t count = receive_once(room, MSG_DONTWAIT); count > 0) return count;
    // On a machine with more threads than cores, the server may need this one to answer.
    ::sched_yield();
  } while (BootClock::now() < end);
  return 0;
}

std::size_t Socket::receive_now(std::span<char> room) { return receive_once(room, MSG_DONTWAIT); }

// One system call: EAGAIN is an open connection without unread bytes, 0 is one that was closed.
bool Socket::is_idle() noexcept {
  char byte = 0;
  ssize_t count = 0;
  do {
    count = ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  return count < 0 && errno == EAGAIN;
}

// Without lingering, close(2) sends a reset and drops what is in the kernel's buffer: an
// acquisition that still waits there must not reach the server after its cleanup went out
// elsewhere.
void Socket::discard() noexcept {
  const linger none{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  close();
}

// May run in a forked child while a thread of the parent is anywhere in this object, so it looks at
// the descriptor only, and closes it once.
void Socket::close() noexcept {
  const int fd = fd_.exchange(-1);
  if (fd >= 0) ::close(fd);
}

}  // namespace redlatch::detail
