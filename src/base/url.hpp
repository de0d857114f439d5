#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace redlatch::detail {

/// The address of a server, and the user there.
struct Endpoint {
  std::string host{};  // of redis:// and rediss://
  std::uint16_t port = 6379;
  std::string path{};  // of unix://, else empty
  std::string user{};
  std::string password{};
  int database = 0;
  bool tls = false;  // rediss://

  /// As a URL, without user and password.
  std::string name() const;
};

/// Throws `Errc::invalid_argument`, naming the part that is wrong and never showing the password,
/// or `Errc::unsupported` for a form that is not built.
Endpoint parse_url(std::string_view url);

}  // namespace redlatch::detail
