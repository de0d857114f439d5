#include "base/url.hpp"

#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include <redlatch/error.hpp>

#include "base/printable.hpp"

namespace redlatch::detail {
namespace {

[[noreturn]] void reject(const std::string& part) {
  throw Error(Errc::invalid_argument,
              "bad server URL: " + part +
                  "; the forms are redis://[user[:password]@]host[:port][/db], "
                  "unix://[user[:password]@]/path/to.sock[?db=N], "
                  "redis-sentinel://[user[:password]@]host[:port][,host[:port]...][/db]#service "
                  "and redis-cluster://[user[:password]@]host[:port][,host[:port]...], all but "
                  "unix with rediss for TLS");
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
    if (is_printable(c) && reserved.find(c) == std::string_view::npos) {
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

Address read_host(std::string_view text, std::uint16_t usual_port) {
  Address address{.host = {}, .port = usual_port};
  const bool bracketed = text.starts_with('[');
  const std::size_t bracket = text.find(']');
  if (bracketed && bracket == std::string_view::npos) reject("the '[' of the host is not closed");
  const auto [host, port] = split(text, text.find(':', bracketed ? bracket : 0));
  if (port && !bracketed && port->find(':') != std::string_view::npos) {
    reject("the host has more than one ':'; put an IPv6 address in brackets");
  }
  if (bracketed && host.back() != ']') reject("something stands between the ']' and the port");
  address.host = bracketed ? read_ipv6(host.substr(1, host.size() - 2)) : std::string(host);
  if (address.host.empty()) reject("the host is missing");
  if (bracketed && address.host.find(':') == std::string::npos) {
    reject("the brackets of the host hold no IPv6 address");
  }
  if (address.host.find_first_of(bracketed ? " \t\r\n[]" : " \t\r\n[]%") != std::string::npos ||
      address.host.find('\0') != std::string::npos) {
    reject("the host has a character that no host name has");
  }
  if (port) address.port = static_cast<std::uint16_t>(number(*port, 1, 65535, "the port"));
  return address;
}

/// Takes the credentials off the text. The last '@' ends them: a password may hold what has a
/// meaning behind it.
void take_credentials(std::string_view& text, Endpoint& endpoint) {
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos) return;
  read_credentials(text.substr(0, at), endpoint);
  text.remove_prefix(at + 1);
}

void read_database(const std::optional<std::string_view>& text, Endpoint& endpoint) {
  if (!text || text->empty()) return;
  endpoint.database = number(*text, 0, 1'000'000, "the database");
}

Endpoint parse_redis(std::string_view text) {
  Endpoint endpoint;
  take_credentials(text, endpoint);
  if (text.find_first_of("?#") != std::string_view::npos)
    reject("it has a '?' or '#', and nothing may follow the database");
  const auto [host, database] = split(text, text.find('/'));
  Address address = read_host(host, endpoint.port);
  endpoint.host = std::move(address.host);
  endpoint.port = address.port;
  read_database(database, endpoint);
  return endpoint;
}

/// Several, separated by commas. `what`: each of them is.
std::vector<Address> read_hosts(std::string_view text, std::uint16_t usual_port, const char* what) {
  std::vector<Address> hosts;
  std::optional<std::string_view> rest = text;
  while (rest) {
    const auto [host, others] = split(*rest, rest->find(','));
    Address address = read_host(host, usual_port);
    if (std::find(hosts.begin(), hosts.end(), address) != hosts.end()) {
      reject(std::string("the same ") + what + " is named twice");
    }
    hosts.push_back(std::move(address));
    rest = others;
  }
  return hosts;
}

Endpoint parse_sentinel(std::string_view text) {
  constexpr std::uint16_t usual_port = 26379;
  Endpoint endpoint;
  take_credentials(text, endpoint);
  const auto [place, service] = split(text, text.find('#'));
  if (!service || service->empty()) {
    reject("the service is missing: the name by which the Sentinels know the server, behind a '#'");
  }
  endpoint.service = decoded(*service, "service");
  if (!is_printable(endpoint.service)) {
    reject("the service has a space, a control character or one outside ASCII");
  }
  if (place.find('?') != std::string_view::npos) {
    reject("it has a '?', and only the database and the service may follow the hosts");
  }
  const auto [hosts, database] = split(place, place.find('/'));
  endpoint.sentinels = read_hosts(hosts, usual_port, "Sentinel");
  read_database(database, endpoint);
  return endpoint;
}

Endpoint parse_cluster(std::string_view text) {
  Endpoint endpoint;
  take_credentials(text, endpoint);
  if (text.find_first_of("?#") != std::string_view::npos)
    reject("it has a '?' or '#', and nothing may follow the hosts");
  const auto [hosts, database] = split(text, text.find('/'));
  endpoint.nodes = read_hosts(hosts, endpoint.port, "node");
  read_database(database, endpoint);
  if (endpoint.database != 0) reject("a cluster has no database but 0");
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

std::string written(const Address& address) {
  const bool ipv6 = address.host.find(':') != std::string::npos;
  return (ipv6 ? written_ipv6(address.host) : address.host) + ":" + std::to_string(address.port);
}

std::string written(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& one : addresses) {
    if (!text.empty()) text += ',';
    text += written(one);
  }
  return text;
}

std::string Endpoint::name() const {
  const std::string number = std::to_string(database);
  const std::string scheme = tls ? "rediss" : "redis";
  if (!nodes.empty()) return scheme + "-cluster://" + written(nodes);
  if (!sentinels.empty()) {
    return scheme + "-sentinel://" + written(sentinels) + "/" + number + "#" +
           encoded(service, "%@");
  }
  if (!path.empty()) {
    return "unix://" + encoded(path, "%?") + (database == 0 ? "" : "?db=" + number);
  }
  return scheme + "://" + written(Address{host, port}) + "/" + number;
}

namespace {

/// In lower case. `text`: what stands in front of the ':'.
std::string scheme_in(std::string_view text) {
  std::string scheme(text);
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return scheme;
}

/// Of a scheme with redis or rediss: what follows that.
std::string kind_of(const std::string& scheme) {
  return scheme.substr(scheme.starts_with("rediss") ? 6 : 5);
}

bool is_known(const std::string& scheme) {
  if (scheme == "unix") return true;
  if (!scheme.starts_with("redis")) return false;
  const std::string kind = kind_of(scheme);
  return kind.empty() || kind == "-sentinel" || kind == "-cluster";
}

/// RFC 3986, section 3.1. What is none may have a password in it, and is not shown.
bool may_be_scheme(const std::string& text) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
  });
}

[[noreturn]] void reject_scheme(std::string_view url) {
  const std::size_t mark = url.find("://");
  if (mark == std::string_view::npos) {
    const std::string scheme = scheme_in(url.substr(0, url.find(':')));
    reject(is_known(scheme) ? R"("://" is missing behind the scheme ")" + scheme + '"'
                            : "the scheme is missing");
  }
  const std::string scheme = scheme_in(url.substr(0, mark));
  const std::string shown = may_be_scheme(scheme) ? " \"" + scheme + "\"" : "";
  reject("the scheme" + shown +
         " is not one of redis, unix, redis-sentinel, redis-cluster, or these with rediss");
}

}  // namespace

Endpoint parse_url(std::string_view url) {
  const std::size_t mark = url.find("://");
  const std::string scheme = scheme_in(url.substr(0, mark));
  if (mark == std::string_view::npos || !is_known(scheme)) reject_scheme(url);
  const std::string_view rest = url.substr(mark + 3);
  if (scheme == "unix") return parse_unix(rest);
  const std::string kind = kind_of(scheme);
  Endpoint endpoint = kind == "-cluster"    ? parse_cluster(rest)
                      : kind == "-sentinel" ? parse_sentinel(rest)
                                            : parse_redis(rest);
  endpoint.tls = scheme.starts_with("rediss");
  return endpoint;
}

}  // namespace redlatch::detail
