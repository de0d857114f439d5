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
  /// How long `receive` mostly has: command_timeout.
  std::chrono::milliseconds usual{};
  /// For how long `receive` asks the system again and again before it sleeps.
  std::chrono::microseconds busy_poll{};
  /// A descriptor that ends all waiting when it gets readable.
  int cancel = never_cancelled;
};

/// One stream socket: closed on exec, never a cause of SIGPIPE; a signal neither ends nor prolongs
/// a wait. Members that are not noexcept throw `IoError`. One thread at a time may use it.
class Socket {
 public:
  Socket() = default;
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&&) = delete;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  enum class Progress {
    done,       // connected
    under_way,  // until the socket gets writable; `finish_connecting` then throws if it failed
    crowded     // the queue of the server's Unix socket is full; no poll waits for that: try again
  };
  /// Opens it and begins to connect, without waiting. May be repeated when it was crowded.
  Progress connect(const SocketAddress& address);
  void finish_connecting();
  /// Makes a connected socket a blocking one. When packets are lost without a word, the system ends
  /// the connection after twice `waiting.usual`, and after 5 s at least. `waiting.cancel` ends
  /// waits until `settle_down`.
  void begin_waiting(const SocketWaiting& waiting);

  int fd() const noexcept { return fd_; }
  /// From now on no wait can be cancelled, which saves a system call for each.
  void settle_down() noexcept { cancel_ = never_cancelled; }

  /// Sends what the system takes without waiting. `sent` counts the bytes that the system has
  /// taken, also when this throws.
  void send_now(std::string_view bytes, std::size_t& sent);
  /// Waits until there is room to send or something to receive; true for the latter. A wait for
  /// room alone may never end: a server stops reading while its replies are not read.
  bool wait_for_room(TimePoint deadline) const;
  /// Waits for bytes; returns how many came, at least one.
  std::size_t receive(std::span<char> room, TimePoint deadline);
  /// Returns how many bytes there were without waiting, perhaps 0.
  std::size_t receive_now(std::span<char> room);

  /// False when the peer has closed the connection or there are unread bytes.
  bool is_idle() const noexcept;

  void close() noexcept;
  /// Closes the connection; bytes that the system has not sent yet are never sent.
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
