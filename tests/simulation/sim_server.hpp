#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

#include "fake_server.hpp"
#include "world.hpp"

namespace redlatch::test {

/// Prints what goes over a simulated connection, for the eye, with $REDLATCH_SIMULATION_SHOWS set.
void show_bytes(std::uint16_t port, const char* way, Peer::Connection connection,
                std::string_view bytes);

/// A fake server at a port of the world.
class SimServer {
 public:
  /// Its clock goes so much faster than that of the clients.
  SimServer(World& world, std::uint16_t port, double speed);
  SimServer(const SimServer&) = delete;
  SimServer& operator=(const SimServer&) = delete;

  std::uint16_t port() const noexcept { return port_; }
  FakeServer& fake() noexcept { return fake_; }
  const FakeServer& fake() const noexcept { return fake_; }
  /// When its clock shows this.
  SimTime time_of(std::int64_t milliseconds) const noexcept {
    return SimTime(static_cast<std::int64_t>(static_cast<double>(milliseconds) * 1e6 / speed_));
  }

  enum class State { runs, stopped, ended };
  State state() const noexcept { return state_; }
  bool runs() const noexcept { return state_ == State::runs; }
  /// As SIGSTOP and SIGCONT.
  void stop();
  void go_on();
  /// As SIGKILL, and another start.
  void end();
  void start(bool keeps_data);
  /// Sends what it has to say without having been asked.
  void speak() { world_.poll_server(port_); }
  /// A fault is on, or its end: no other one is to begin.
  bool is_away = false;

 private:
  /// The fake server as the world's peer.
  class FakePeer final : public Peer {
   public:
    FakePeer(FakeServer& server, std::uint16_t port) : server_(server), port_(port) {}
    Connection connect() override { return server_.connect(); }
    void receive(Connection one, std::string_view bytes) override;
    std::string take_output(Connection one) override;
    std::vector<Connection> with_output() const override { return server_.with_output(); }
    bool is_closed(Connection one) const override { return server_.is_closed(one); }
    void disconnect(Connection one) override { server_.disconnect(one); }

   private:
    FakeServer& server_;
    std::uint16_t port_;
  };

  World& world_;
  std::uint16_t port_;
  double speed_;
  FakeServer fake_;
  FakePeer peer_{fake_, port_};
  State state_ = State::runs;
};

}  // namespace redlatch::test
