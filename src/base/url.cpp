#include "base/url.hpp"

#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include <redlatch/error.hpp>

namespace redlatch::detail {
namespace {

[[noreturn]] void reject(const std::string& part) {
  throw Error(Errc::invalid_argument,
              "bad server URL: " + part +
                  "; the forms are redis://[user[:password]@]host[:port][/db], the same with "
                  "rediss:// for TLS, and "
                  "unix://[user[:password]@]/path/to.sock[?db=N]");
}

/// The text before index `mark` and behind it; all of it and nothing when `mark` is npos.
std::pair<std::string_view, std::optional<std::string_view>> split(std::string_view text,
                                                                   std::size_t mark) {
  if (mark == std::string_view::npos) return {text, std::nullopt};
  return {text.substr(0, mark), text.substr(mark + 1)};
}

int number(std::string_view text, int min, int max, const char* part) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value < min || value > max) {
    reject(std::string(part) + " is not a number from " + std::to_string(min) + " to " +
           std::to_string(max));
  }
  return value;
}

std::string decoded(std::string_view text, const char* part) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const char* end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, byte, 16);
    if (digits.size() != 2 || error != std::errc() || rest != end) {
      reject(std::string("a '%' in the ") + part + " is not followed by two hexadecimal digits");
    }
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

/// Encoded so that `decoded` gives the text back, and it can be printed. `reserved`: characters
/// that have a meaning in this part of a URL.
std::string encoded(std::string_view text, std::string_view reserved) {
  std::string out;
  for (const char c : text) {
    if (c > ' ' && c <= '~' && reserved.find(c) == std::string_view::npos) {
      out += c;
    } else {
      constexpr const char* digits = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', digits[byte >> 4], digits[byte & 0x0F]};
    }
  }
  return out;
}

void read_credentials(std::string_view text, Endpoint& endpoint) {
  const auto [user, password] = split(text, text.find(':'));
  endpoint.user = decoded(user, "user");
  if (password) endpoint.password = decoded(*password, "password");
}

// In a URL the '%' before the zone of an IPv6 address, as in fe80::1%eth0, is encoded itself.
// Source: RFC 6874, section 2. Most people write it as it is, which is understood as well.
constexpr std::string_view zone_mark = "%25";

/// As the system writes it.
std::string read_ipv6(std::string_view text) {
  const std::size_t percent = text.find('%');
  if (percent == std::string_view::npos) return std::string(text);
  const std::string_view zone = text.substr(percent);
  if (zone.size() == 1) reject("the zone of the IPv6 address is missing");
  if (!zone.starts_with(zone_mark) || zone == zone_mark) return std::string(text);
  std::string host(text.substr(0, percent + 1));
  return host += decoded(zone.substr(zone_mark.size()), "zone of the IPv6 address");
}

std::string written_ipv6(std::string_view host) {
  const std::size_t percent = host.find('%');
  std::string text = "[";
  text += host.substr(0, percent);
  if (percent != std::string_view::npos) {
    text += zone_mark;
    text += encoded(host.substr(percent + 1), "%/?#@:[]");
  }
  return text += ']';
}

void read_host(std::string_view text, Endpoint& endpoint) {
  const bool bracketed = text.starts_with('[');
  const std::size_t bracket = text.find(']');
  if (bracketed && bracket == std::string_view::npos) reject("the '[' of the host is not closed");
  const auto [host, port] = split(text, text.find(':', bracketed ? bracket : 0));
  if (port && !bracketed && port->find(':') != std::string_view::npos) {
    reject("the host has more than one ':'; put an IPv6 address in brackets");
  }
  if (bracketed && host.back() != ']') reject("something stands between the ']' and the port");
  endpoint.host = bracketed ? read_ipv6(host.substr(1, host.size() - 2)) : std::string(host);
  if (endpoint.host.empty()) reject("the host is missing");
  if (bracketed && endpoint.host.find(':') == std::string::npos) {
    reject("the brackets of the host hold no IPv6 address");
  }
  if (endpoint.host.find_first_of(bracketed ? " \t\r\n[]" : " \t\r\n[]%") != std::string::npos ||
      endpoint.host.find('\0') != std::string::npos) {
    reject("the host has a character that no host name has");
  }
  if (port) endpoint.port = static_cast<std::uint16_t>(number(*port, 1, 65535, "the port"));
}

Endpoint parse_redis(std::string_view text) {
  Endpoint endpoint;
  // A '/' or '?' behind the last '@' ends the authority; a password may hold both.
  const std::size_t at = text.rfind('@');
  if (at != std::string_view::npos) {
    read_credentials(text.substr(0, at), endpoint);
    text.remove_prefix(at + 1);
  }
  if (text.find_first_of("?#") != std::string_view::npos)
    reject("it has a '?' or '#', and nothing may follow the database");
  const auto [host, database] = split(text, text.find('/'));
  read_host(host, endpoint);
  if (database && !database->empty()) {
    endpoint.database = number(*database, 0, 1'000'000, "the database");
  }
  return endpoint;
}

Endpoint parse_unix(std::string_view text) {
  Endpoint endpoint;
  // The last '@' ends the credentials, as in the other form, so that no part of a password that
  // holds one is ever taken for the path, which is shown.
  if (!text.starts_with('/')) {
    const std::size_t at = text.rfind('@');
    if (at == std::string_view::npos || !text.substr(at + 1).starts_with('/')) {
      reject("the path of the socket does not begin with '/' (an '@' in it is written %40)");
    }
    read_credentials(text.substr(0, at), endpoint);
    text.remove_prefix(at + 1);
  }
  const auto [path, query] = split(text, text.find('?'));
  endpoint.path = decoded(path, "path");
  if (endpoint.path.size() >= sizeof(sockaddr_un::sun_path)) {
    reject("the path of the socket is longer than " +
           std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes");
  }
  if (endpoint.path.find('\0') != std::string::npos) reject("the path of the socket has a NUL");
  if (query) {
    if (!query->starts_with("db=")) reject("the query is not db=N");
    endpoint.database = number(query->substr(3), 0, 1'000'000, "the database");
  }
  return endpoint;
}

}  // namespace

std::string Endpoint::name() const {
  const std::string number = std::to_string(database);
  if (!path.empty()) {
    return "unix://" + encoded(path, "%?") + (database == 0 ? "" : "?db=" + number);
  }
  const bool ipv6 = host.find(':') != std::string::npos;
  return (tls ? "rediss://" : "redis://") + (ipv6 ? written_ipv6(host) : host) + ":" +
         std::to_string(port) + "/" + number;
}

Endpoint parse_url(std::string_view url) {
  const std::size_t mark = url.find("://");
  if (mark == std::string_view::npos) reject("the scheme is missing");
  std::string scheme(url.substr(0, mark));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view rest = url.substr(mark + 3);
  if (scheme == "redis" || scheme == "rediss") {
    Endpoint endpoint = parse_redis(rest);
    endpoint.tls = scheme == "rediss";
    return endpoint;
  }
  if (scheme == "unix") return parse_unix(rest);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> planned{
      {{"redis-sentinel", "Sentinel"},
       {"rediss-sentinel", "Sentinel"},
       {"redis-cluster", "Cluster"},
       {"rediss-cluster", "Cluster"}}};
  for (const auto& [name, what] : planned) {
    if (scheme == name) {
      throw Error(Errc::unsupported, std::string(what) + " (" + std::string(name) +
                                         "://) is not built in this version; use redis://, "
                                         "rediss:// or unix://");
    }
  }
  reject("the scheme is none of redis, rediss and unix");
}

}  // namespace redlatch::detail
