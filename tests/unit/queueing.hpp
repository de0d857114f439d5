#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "fake_executor.hpp"

/// A server that has a queue, and what is said to it.
namespace redlatch::test {

using Ending = detail::Waiter::Ending;

/// With a client that can be told.
inline Fake fake_with_queue() {
  const Fake executor = fake();
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  executor->will(says(nil()));  // to the first attempt
  return executor;
}

inline Answer granted() { return says(integer(1)); }
inline Answer queued() { return says(integer(2)); }
inline Answer first() { return says(integer(3)); }
inline Answer first_and_watched(int life) { return says(integer(3), ok(), ok(), integer(life)); }
inline Answer notified() { return says(integer(4)); }
inline Answer gone() { return says(integer(0)); }

inline constexpr auto drift = 100ms + 2ms;  // of the usual ttl, 10 s

/// Lets the server grant the entry as soon as the waiter pauses.
inline void grant_while_waiting(const Fake& executor, TimePoint::duration after = 0ns) {
  executor->on_pause = [server = executor.get(), after] {
    server->advance(after);
    server->granted = true;
    server->on_pause = {};
  };
}

inline std::vector<std::string> status(const Fake& executor) {
  std::vector<std::string> all;
  for (const std::string& command : executor->said()) {
    if (command.starts_with("STAND")) all.push_back(command);
  }
  return all;
}

inline std::string left(const std::string& token) {
  return "LEAVE job " + token + " 10000 redlatch:me 0";
}

}  // namespace redlatch::test
