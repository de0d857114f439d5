#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace redlatch::test {

/// All times of a fake server are milliseconds of the clock that it was given.
struct FakeServerOptions {
  /// INFO names it. The server behaves as Redis 7.0.15 whatever it is.
  std::string version = "7.0.15";
  /// Of the user `default`, who is the only one. Empty: no log-in is needed.
  std::string password{};
  /// False: EVAL, EVALSHA and SCRIPT are refused as by an ACL without @scripting.
  bool allows_scripts = true;
  int databases = 16;
  /// What WAIT answers, at once.
  int replicas = 0;
  /// The answer to WAITAOF for the server's own disk. Nothing: there is no such command, as in
  /// Redis 7.0.
  std::optional<int> on_disk{};
  /// Connections beyond that are answered with an error, and closed.
  std::size_t max_clients = 10000;
  /// The id of the first client since the start, and since each restart.
  std::uint64_t first_client = 1;
};

}  // namespace redlatch::test
