#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include <redlatch/detail/clock.hpp>

#include "net/socket_address.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// One stream socket: closed on exec, never a cause of SIGPIPE; a signal neither ends nor prolongs
/// a wait. Members that are not noexcept throw `IoError`. One thread at a time may use it.
class Socket final : public Transport {
 public:
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() override { close(); }

  enum class Progress {
    done,       // connected
    under_way,  // until the socket gets writable; `finish_connecting` then throws if it failed
    crowded     // the queue of the server's Unix socket is full; no poll waits for that: try again
  };
  /// Opens it and begins to connect, without waiting. May be repeated when it was crowded.
  Progress connect(const SocketAddress& address);
  void finish_connecting();
  /// Makes a connected socket a blocking one. When packets are lost without a word, the system ends
  /// the connection after twice `waiting.usual`, and after 5 s at least.
  void begin_waiting(const Waiting& waiting) override;
  /// Saves a system call for each wait.
  void settle_down() noexcept override { cancel_ = never_cancelled; }

  void send_now(std::string_view bytes, std::size_t& sent) override;
  bool wait_for_room(TimePoint deadline) override;
  std::size_t receive(std::span<char> room, TimePoint deadline) override;
  std::size_t receive_now(std::span<char> room) override;

  bool is_idle() noexcept override;
  int fd() const noexcept override { return fd_; }
  void close() noexcept override;
  void discard() noexcept override;

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
