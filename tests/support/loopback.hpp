#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace redlatch::test {

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
