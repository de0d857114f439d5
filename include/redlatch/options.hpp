#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace redlatch {

/// How a `Client` reaches its server. Checked once, by the client's constructor: a time-out that is
/// not positive, or no connection at all, throws `Errc::invalid_argument`.
struct ClientOptions {
  /// For connecting and logging in, in milliseconds. Looking a host name up is the operating
  /// system's business and comes on top.
  std::chrono::milliseconds connect_timeout{1000};
  /// From the call to the reply, in milliseconds; connecting is not counted.
  std::chrono::milliseconds command_timeout{500};
  /// Upper bound on the connections that carry commands. Threads share them, and each key always
  /// uses the same one.
  std::size_t connections = 4;
  /// Shown by CLIENT LIST at the server; empty: none. No spaces, newlines or other control
  /// characters.
  std::string client_name{};
  /// False: no script is ever sent. Releasing and extending use the server's own conditional
  /// commands where it has them and WATCH/MULTI/EXEC where it has not.
  bool scripting = true;
};

/// What a lock asks of the server. Checked once, by the lock's constructor.
struct LockOptions {
  /// The lease: the server forgets the lock this long after it was taken or extended, in
  /// milliseconds. At least 10 ms, else `Errc::invalid_argument`. Long enough for the guarded work,
  /// short enough to wait out when a holder dies.
  std::chrono::milliseconds ttl{10'000};
};

}  // namespace redlatch
