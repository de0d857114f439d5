#include "command_stream.hpp"

#include <chrono>
#include <exception>
#include <utility>

#include "raw_client.hpp"

namespace redlatch::test {

CommandStream::CommandStream(std::string socket) : socket_(std::move(socket)) {
  thread_ = std::jthread([this] { run(); });
}

/// Any command makes the server say something.
void CommandStream::end() {
  if (!thread_.joinable()) return;
  is_over_ = true;
  answered([&] { return RawClient(socket_).command({"ECHO", "over"}).text; });
  thread_.join();
}

void CommandStream::run() {
  while (!is_over_) {
    try {
      listen();
    } catch (const std::exception&) {
      check_.forget();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
}

void CommandStream::listen() {
  RawClient client(socket_);
  if (client.command({"MONITOR"}).error) return check_.forget();
  while (!is_over_) check_.take(client.next().text);
}

}  // namespace redlatch::test
