#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "raw_client.hpp"

namespace redlatch::benchmark {

/// How often each command has run since the server was started, a script's own commands included.
using Calls = std::map<std::string, std::int64_t>;

/// What the server says about those who use it, on a connection that is counted nowhere. Members
/// throw std::runtime_error when there is no answer.
class ServerView {
 public:
  explicit ServerView(const std::string& socket) : client_(socket) {}

  pid_t pid() { return static_cast<pid_t>(client_.info("server", "process_id:")); }
  /// "Redis 7.0.15"
  std::string version();
  std::int64_t connections() { return client_.info("clients", "connected_clients:") - 1; }
  Calls calls();
  /// What those who were killed have left.
  void forget_locks() { client_.command({"FLUSHALL"}); }
  /// Has the server repeat the text to the clients that MONITOR it.
  void say(const std::string& text) { client_.command({"ECHO", text}); }
  /// Waits until no client is connected; throws when one has left a key behind.
  void wait_until_deserted();

 private:
  test::RawClient client_;
};

}  // namespace redlatch::benchmark
