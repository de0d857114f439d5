#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include <redlatch/detail/clock.hpp>

#include "url.hpp"

namespace redlatch::detail {

constexpr int never_cancelled = -1;

/// How a socket waits.
struct SocketWaiting {
  /// About how long `receive` will be asked to.
  std::chrono::milliseconds usual{};
  /// For how long it looks again and again before it sleeps.
  std::chrono::microseconds busy_poll{};
  /// A descriptor that ends all waiting when it gets readable.
  int cancel = never_cancelled;
};

/// One connected stream socket: close-on-exec, never a SIGPIPE, indifferent to signals. Everything
/// throws `IoError`.
class Socket {
 public:
  /// Tries each address of the host until one answers. Looking the name up is not bound by
  /// `deadline`. `waiting.cancel` is only looked at until `settle_down`.
  Socket(const Endpoint& endpoint, TimePoint deadline, const SocketWaiting& waiting);
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  int fd() const noexcept { return fd_; }
  /// Nobody cancels any more.
  void settle_down() noexcept { cancel_ = never_cancelled; }

  /// Sends all of it, or what the system takes at once when the deadline is over. Counts in `sent`
  /// what the system has taken, whatever happens.
  void send(std::string_view bytes, std::size_t& sent, TimePoint deadline);
  /// Sends what the system takes at once, and counts it in `sent`.
  void send_now(std::string_view bytes, std::size_t& sent);
  /// How many bytes came; at least one.
  std::size_t receive(std::span<char> room, TimePoint deadline);
  /// How many bytes are there now; may be none.
  std::size_t receive_now(std::span<char> room);

  /// False when the peer has closed the connection or has said something that nobody has read.
  bool quiet() const noexcept;

  void close() noexcept;
  /// Closes the connection, and what the system has not sent yet is never sent.
  void discard() noexcept;

 private:
  void connect_unix(const std::string& path, TimePoint deadline);
  void connect_tcp(const Endpoint& endpoint, TimePoint deadline);
  void connect_to(int family, const void* address, unsigned length, TimePoint deadline);

  bool ready(short events, TimePoint deadline) const;
  std::size_t receive_once(std::span<char> room, int flags);
  std::size_t receive_busily(std::span<char> room, TimePoint deadline);

  std::chrono::milliseconds own_wait_{};  // after which recv(2) comes back by itself
  std::chrono::microseconds busy_poll_{};
  int cancel_ = never_cancelled;
  std::atomic<int> fd_{-1};  // a forked child reads it while a thread of its parent connects
};

}  // namespace redlatch::detail
