#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <string>
#include <thread>

namespace redlatch::test {

/// A long way to a server: accepts on a free loopback port and passes everything on to the server's
/// Unix socket and back, each byte `delay` later, in order.
class SlowLink {
 public:
  SlowLink(std::string server_socket, std::chrono::milliseconds delay);
  SlowLink(const SlowLink&) = delete;
  SlowLink& operator=(const SlowLink&) = delete;
  ~SlowLink();

  std::uint16_t port() const noexcept { return port_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Parcel {
    Clock::time_point due;
    std::string bytes;
  };
  struct Way {
    int from;
    int to;
    std::deque<Parcel> under_way{};
    bool ended = false;  // nothing more comes
  };

  void run();
  void accept_one(std::list<Way>& ways) const;
  void take_in(Way& way) const;
  static void deliver(Way& way, Clock::time_point now);
  static void remove_ended(std::list<Way>& ways);

  const std::string server_socket_;
  const std::chrono::milliseconds delay_;
  std::uint16_t port_ = 0;  // set by the listener's initialiser
  int listener_;
  int wake_up_;
  std::thread thread_{};
};

}  // namespace redlatch::test
