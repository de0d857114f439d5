#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

namespace redlatch::detail {

/// What a stream socket connects to: an IPv4 or IPv6 address with its port, or a Unix socket.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  static SocketAddress of(const sockaddr* address, socklen_t size) noexcept;
  static SocketAddress of_unix(const std::string& path) noexcept;

  int family() const noexcept { return storage.ss_family; }
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&storage); }
  /// For messages, without the port: "10.0.0.7", "::1"; empty for a Unix socket.
  std::string text() const;
  /// With the port: "10.0.0.7:6379", "[::1]:6379"; empty for a Unix socket.
  std::string with_port() const;

  bool operator==(const SocketAddress& other) const noexcept;
};

using SocketAddresses = std::vector<SocketAddress>;

}  // namespace redlatch::detail
