#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/executor.hpp>
#include <redlatch/event.hpp>
#include <redlatch/protocol/command.hpp>

#include "scripts.hpp"

/// What a fake executor remembers.
namespace redlatch::test {

using detail::ConnectPolicy;
using detail::TimePoint;

/// A command as one line; scripts by what they are for.
inline std::string line(const protocol::Command& command) {
  std::string out;
  for (const auto& [name, script] : all_scripts) {
    if (command.script() == script) out = name;
  }
  for (const protocol::Argument& argument : command.arguments()) {
    if (!out.empty()) out += ' ';
    out += argument.text();
  }
  return out;
}

inline std::string word(const std::string& text, int index) {
  std::istringstream words(text);
  std::string found;
  for (int i = 0; i <= index; ++i) words >> found;
  return found;
}
/// The token in a SET, RELEASE or EXTEND.
inline std::string token_in(const std::string& command) { return word(command, 2); }

struct PostResult {
  std::string key{};
  std::string command{};
  std::chrono::milliseconds ttl{};
  detail::CleanupRelease::Reason of{};
  TimePoint::duration held{};
  std::size_t said_before = 0;  // calls
};

struct Happened {
  EventKind kind{};
  TimePoint::duration elapsed{};
  std::error_code error{};

  bool operator==(const Happened&) const = default;
};

struct Call {
  std::size_t server = 0;
  std::string key{};
  std::vector<std::string> commands{};
  std::optional<PostResult> cleanup{};
  ConnectPolicy connecting{};
  TimePoint at{};
  std::chrono::milliseconds blocks{0};
};

}  // namespace redlatch::test
