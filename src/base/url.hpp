#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/options.hpp>

namespace redlatch::detail {

/// The address of a server, or of the Sentinels that know it, or of nodes of a cluster, and the
/// user at the server.
struct Endpoint {
  std::string host{};  // of redis:// and rediss://, else empty
  std::uint16_t port = 6379;
  std::string path{};  // of unix://, else empty
  std::string user{};
  std::string password{};
  int database = 0;
  bool tls = false;                  // rediss://, rediss-sentinel:// and rediss-cluster://
  std::vector<Address> sentinels{};  // of redis-sentinel:// and rediss-sentinel://, else empty
  std::string service{};             // the name by which these know the server
  std::vector<Address> nodes{};      // of redis-cluster:// and rediss-cluster://, else empty

  /// As a URL, without user and password.
  std::string name() const;
};

/// "host:port", as in a URL.
std::string written(const Address& address);
/// All of them, separated by commas.
std::string written(const std::vector<Address>& addresses);

/// Throws `Errc::invalid_argument`, naming the part that is wrong and never showing the password,
/// or `Errc::unsupported` for a form that is not built.
Endpoint parse_url(std::string_view url);

}  // namespace redlatch::detail
