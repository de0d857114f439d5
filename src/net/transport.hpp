#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string_view>

#include <redlatch/detail/clock.hpp>

namespace redlatch::detail {

constexpr int never_cancelled = -1;

/// How a transport waits once its connection has logged in.
struct Waiting {
  /// How long `receive` mostly has: command_timeout.
  std::chrono::milliseconds usual{};
  /// For how long `receive` asks the system again and again before it sleeps.
  std::chrono::microseconds busy_poll{};
  /// A descriptor that ends all waiting when it gets readable.
  int cancel = never_cancelled;
};

/// Moves the bytes of one open connection, and knows nothing of what they mean: a socket, or a fake
/// in tests. Members that are not noexcept throw `IoError`. One thread at a time may use it.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  enum class Handshake {
    done,
    wants_bytes,  // of the peer: to be continued when the descriptor is readable
    wants_room    // to be continued when it is writable
  };
  /// What has to happen on a new connection before bytes can be exchanged; to be continued without
  /// waiting until it is `done`.
  virtual Handshake handshake() { return Handshake::done; }

  /// To be called before `wait_for_room` and `receive`. `waiting.cancel` ends waits until
  /// `settle_down`.
  virtual void begin_waiting(const Waiting& waiting) = 0;
  /// From now on no wait can be cancelled.
  virtual void settle_down() noexcept = 0;

  /// Sends what can be sent without waiting. `sent` is raised by the bytes that were taken, also
  /// when this throws.
  virtual void send_now(std::string_view bytes, std::size_t& sent) = 0;
  /// Waits until there is room to send or something to receive; true for the latter. A wait for
  /// room alone may never end: a server stops reading while its replies are not read.
  virtual bool wait_for_room(TimePoint deadline) = 0;
  /// Waits for bytes; returns how many came, at least one.
  virtual std::size_t receive(std::span<char> room, TimePoint deadline) = 0;
  /// Returns how many bytes there were without waiting, perhaps 0.
  virtual std::size_t receive_now(std::span<char> room) = 0;

  /// False when the peer has closed the connection or there are unread bytes.
  virtual bool is_idle() noexcept = 0;
  /// The descriptor to poll.
  virtual int fd() const noexcept = 0;
  /// Closes the connection without sending anything more. Also for a forked child.
  virtual void close() noexcept = 0;
  /// Closes the connection; bytes that the system has not sent yet are never sent.
  virtual void discard() noexcept = 0;
};

}  // namespace redlatch::detail
