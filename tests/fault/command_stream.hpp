#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "stream_check.hpp"

namespace redlatch::test {

/// What a server says that it is told (MONITOR), checked as it comes. Where the connection is lost,
/// it goes on with another one.
class CommandStream {
 public:
  explicit CommandStream(std::string socket);
  CommandStream(const CommandStream&) = delete;
  CommandStream& operator=(const CommandStream&) = delete;
  ~CommandStream() { end(); }

  /// The server has to answer. What was found is there from here on.
  void end();
  std::size_t checked() const noexcept { return check_.checked(); }
  const std::vector<std::string>& violations() const noexcept { return check_.violations(); }

 private:
  void run();
  void listen();

  std::string socket_;
  std::atomic<bool> is_over_ = false;
  StreamCheck check_{};
  std::jthread thread_{};
};

}  // namespace redlatch::test
