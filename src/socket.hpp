#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include <redlatch/detail/clock.hpp>

#include "url.hpp"

namespace redlatch::detail {

/// One connected stream socket: close-on-exec, never a SIGPIPE, indifferent to signals. Everything
/// throws `IoError`.
class Socket {
 public:
  /// Tries each address of the host until one answers. Looking the name up is not bound by
  /// `deadline`. `usual_wait` is about how long `receive` will be asked to wait.
  Socket(const Endpoint& endpoint, TimePoint deadline, std::chrono::milliseconds usual_wait);
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  int fd() const noexcept { return fd_; }

  /// Sends all of it, or what the system takes at once when the deadline is over. Counts in `sent`
  /// what the system has taken, whatever happens.
  void send(std::string_view bytes, std::size_t& sent, TimePoint deadline);
  /// How many bytes came; at least one.
  std::size_t receive(std::span<char> room, TimePoint deadline);
  /// How many bytes are there now; may be none.
  std::size_t receive_now(std::span<char> room);

  /// False when the peer has closed the connection or has said something that nobody has read.
  bool quiet() const noexcept;

  void close() noexcept;

 private:
  void connect_unix(const std::string& path, TimePoint deadline);
  void connect_tcp(const Endpoint& endpoint, TimePoint deadline);
  void connect_to(int family, const void* address, unsigned length, TimePoint deadline);

  std::size_t receive_once(std::span<char> room, int flags);

  std::chrono::milliseconds own_wait_;  // after which recv(2) comes back by itself
  std::atomic<int> fd_{-1};  // a forked child reads it while a thread of its parent connects
};

}  // namespace redlatch::detail
