#include "sim_server.hpp"

#include <cstdlib>
#include <iostream>
#include <string>

namespace redlatch::test {

void show_bytes(std::uint16_t port, const char* way, Peer::Connection connection,
                std::string_view bytes) {
  static const bool shows = std::getenv("REDLATCH_SIMULATION_SHOWS") != nullptr;
  if (!shows) return;
  // Without what frames the words.
  std::string text;
  for (const char byte : bytes) {
    if (byte != '\r') text += byte == '\n' ? ' ' : byte;
  }
  std::cerr << std::fixed << static_cast<double>(World::current_time().count()) / 1e9 << ' ' << port
            << ' ' << way << ' ' << connection << ' ' << text << '\n';
}

void SimServer::FakePeer::receive(Connection one, std::string_view bytes) {
  show_bytes(port_, "->", one, bytes);
  server_.receive(one, bytes);
}

std::string SimServer::FakePeer::take_output(Connection one) {
  std::string bytes = server_.take_output(one);
  show_bytes(port_, "<-", one, bytes);
  return bytes;
}

SimServer::SimServer(World& world, std::uint16_t port, double speed)
    : world_(world),
      port_(port),
      speed_(speed),
      fake_(
          [&world, speed] {
            return std::chrono::milliseconds(
                static_cast<std::int64_t>(static_cast<double>(world.now().count()) * speed / 1e6));
          },
          port) {
  world.serve(port, peer_);
}

void SimServer::stop() {
  state_ = State::stopped;
  world_.stop_server(port_);
}

void SimServer::go_on() {
  state_ = State::runs;
  world_.continue_server(port_);
}

void SimServer::end() {
  state_ = State::ended;
  world_.end_server(port_);
}

void SimServer::start(bool keeps_data) {
  fake_.restart(keeps_data);
  state_ = State::runs;
  world_.start_server(port_);
}

}  // namespace redlatch::test
