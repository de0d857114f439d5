#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include <redlatch/detail/clock.hpp>

#include "net/socket_address.hpp"

namespace redlatch::detail {

constexpr int never_cancelled = -1;

/// How a socket waits once it is connected.
struct SocketWaiting {
  /// About how long `receive` will be asked to.
  std::chrono::milliseconds usual{};
  /// For how long it looks again and again before it sleeps.
  std::chrono::microseconds busy_poll{};
  /// A descriptor that ends all waiting when it gets readable.
  int cancel = never_cancelled;
};

/// One stream socket: close-on-exec, never a SIGPIPE, indifferent to signals. Everything throws
/// `IoError`.
class Socket {
 public:
  Socket() = default;
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  enum class ConnectPolicy {
    done,
    under_way,  // until it gets writable; `finish_connecting` says how it went
    crowded     // a Unix socket's queue is full, which cannot be waited for: try again
  };
  /// Opens it and begins to connect, without waiting. May be repeated when it was crowded.
  ConnectPolicy connect(const SocketAddress& address);
  void finish_connecting();
  /// To be called once it is connected: from now on it may wait. Where the peer is silent, the
  /// system ends the connection by itself, some time after `waiting.usual` is over.
  /// `waiting.cancel` is only looked at until `settle_down`.
  void begin_waiting(const SocketWaiting& waiting);

  int fd() const noexcept { return fd_; }
  /// Nobody cancels any more.
  void settle_down() noexcept { cancel_ = never_cancelled; }

  /// Sends what the system takes at once. Counts in `sent` what the system has taken, whatever
  /// happens.
  void send_now(std::string_view bytes, std::size_t& sent);
  /// Waits until there is room to send or something to receive; true for the latter. A wait for
  /// room alone may never end: the peer may not read before its answers are read.
  bool wait_for_room(TimePoint deadline) const;
  /// How many bytes came; at least one.
  std::size_t receive(std::span<char> room, TimePoint deadline);
  /// How many bytes are there now; may be none.
  std::size_t receive_now(std::span<char> room);

  /// False when the peer has closed the connection or has said something that nobody has read.
  bool is_idle() const noexcept;

  void close() noexcept;
  /// Closes the connection, and what the system has not sent yet is never sent.
  void discard() noexcept;

 private:
  void open(int family);
  short ready(short events, TimePoint deadline) const;
  std::size_t receive_once(std::span<char> room, int flags);
  std::size_t receive_busily(std::span<char> room, TimePoint deadline);

  std::chrono::milliseconds own_wait_{};  // after which recv(2) comes back by itself
  std::chrono::microseconds busy_poll_{};
  int cancel_ = never_cancelled;
  int family_ = 0;
  std::atomic<int> fd_{-1};  // a forked child reads it while a thread of its parent connects
};

}  // namespace redlatch::detail
