#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace redlatch::test {

/// A free loopback port that is kept for a server: no other program gets it, also while the server
/// is down. The server has to set SO_REUSEADDR, as Redis and Valkey do.
class ReservedPort {
 public:
  /// On each of these addresses. Throws std::system_error.
  explicit ReservedPort(const std::vector<std::string>& addresses = {"127.0.0.1"});
  ReservedPort(const ReservedPort&) = delete;
  ReservedPort& operator=(const ReservedPort&) = delete;
  ~ReservedPort();

  std::uint16_t number() const noexcept { return number_; }

 private:
  /// False when another program has the number at one of the addresses.
  bool reserve(const std::vector<std::string>& addresses);
  void close() noexcept;

  std::vector<int> sockets_{};
  std::uint16_t number_ = 0;
};

/// A socket that listens on a free loopback port, which is left in `port`. Not blocking. Throws
/// std::system_error.
int listen_on_loopback(std::uint16_t& port);
/// The same on a Unix socket.
int listen_on(const std::string& unix_path);
/// A blocking connection to a Unix socket, or to a loopback port as ":6379"; -1: there is none.
int connect_to(const std::string& target) noexcept;
/// False when the connection is lost.
bool send_all(int fd, std::string_view bytes) noexcept;
/// The end of the socket is a reset for its peer.
void reset_on_close(int fd) noexcept;

}  // namespace redlatch::test
