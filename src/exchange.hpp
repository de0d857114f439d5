#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <list>
#include <optional>

#include <redlatch/detail/executor.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/native.hpp>

#include "io_error.hpp"
#include "release.hpp"
#include "session.hpp"
#include "turn.hpp"

namespace redlatch::detail {

struct Exchange;
using Exchanges = std::list<Exchange>;

/// Somebody who waits for the answer to a request. Lives on that thread's stack.
struct Caller {
  enum class State { waits, leads, done };

  const Request& request;
  Response& response;
  Exchanges::iterator exchange{};

  /// Changed under the channel's mutex. What comes below is complete when this is `done`.
  std::atomic<State> state = State::waits;
  /// One post for each change that the thread is to be woken for; it takes all of them before it
  /// goes.
  Turn turn{};
  int posts = 0;
  int posts_taken = 0;
  Caller* next_to_wake = nullptr;
  bool mended = false;  // a leader is using the request, so that it cannot be taken away

  std::optional<IoError> failure{};  // else the replies are in the response
  bool in_doubt = false;             // the server may have acted all the same,
  bool broken = false;               // and the connection is lost
  bool out_of_memory = false;        // which is worth an exception of its own

  bool leads() const noexcept { return state == State::leads; }
  bool done() const noexcept { return state == State::done; }
};

/// What was said in one go about one key, or is about to be, and the replies to it. Nodes of a list
/// are used again and again, and keep their memory.
struct Exchange {
  Caller* caller = nullptr;  // null when nobody waits for the answer, or not any more
  bool is_release = false;   // then `release` says what it is about
  Release release{};

  std::size_t commands = 0;
  std::array<protocol::Expect, most_commands> expected{};
  std::array<protocol::Form, most_commands> forms{};
  Session::Position change_ends = Connection::nowhere;  // of the first command that changes data
  TimePoint said{};                                     // `TimePoint{}`: not yet
  Replies replies{};
  bool repeat = false;  // the answer was true only because of a release that has to be mended

  /// Before it is said at `now`.
  void begin(TimePoint now) noexcept;
  bool complete() const noexcept { return replies.size() == commands; }
  protocol::Command command(std::size_t i) const {
    return is_release ? release.command() : caller->request.commands[i];
  }
};

}  // namespace redlatch::detail
