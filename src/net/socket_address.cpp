#include "net/socket_address.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/url.hpp"

namespace redlatch::detail {

SocketAddress SocketAddress::of(const sockaddr* address, socklen_t size) noexcept {
  SocketAddress result;
  result.size = std::min<socklen_t>(size, sizeof result.storage);
  std::memcpy(&result.storage, address, result.size);
  return result;
}

SocketAddress SocketAddress::of_unix(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return of(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

std::string SocketAddress::text() const {
  std::array<char, NI_MAXHOST> host{};
  const bool known = family() != AF_UNIX && ::getnameinfo(get(), size, host.data(), host.size(),
                                                          nullptr, 0, NI_NUMERICHOST) == 0;
  return known ? host.data() : "";
}

std::string SocketAddress::with_port() const {
  const std::string host = text();
  if (host.empty()) return {};
  // Both families have the port in the same place.
  const auto port = ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  return written({.host = host, .port = port});
}

// The bytes of a `sockaddr` that was zeroed first and filled by the system compare as the addresses
// do, port and zone included.
bool SocketAddress::operator==(const SocketAddress& other) const noexcept {
  return size == other.size && std::memcmp(&storage, &other.storage, size) == 0;
}

}  // namespace redlatch::detail
