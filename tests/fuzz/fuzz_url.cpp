#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <redlatch/error.hpp>

#include "base/url.hpp"
#include "require.hpp"

// Whatever a URL looks like, parse_url returns an endpoint or throws redlatch::Error; no text of
// either shows the password; and an endpoint's name can be read again, as the same endpoint.

namespace {

using redlatch::detail::Endpoint;

/// The endpoint, or what a user is told instead.
struct Outcome {
  std::optional<Endpoint> endpoint{};
  std::string message{};
};

Outcome parse(std::string_view url) {
  try {
    return {.endpoint = redlatch::detail::parse_url(url)};
  } catch (const redlatch::Error& error) {
    require(error.code() == redlatch::Errc::invalid_argument ||
                error.code() == redlatch::Errc::unsupported,
            "the code of the error is one of the two");
    require(error.server().empty() && !error.in_doubt(), "the error is about no server");
    return {.message = error.what()};
  }
}

void check_name(const Endpoint& endpoint) {
  const Outcome again = parse(endpoint.name());
  require(again.endpoint.has_value(), "the name can be read again: " + endpoint.name());
  require(again.endpoint->host == endpoint.host && again.endpoint->port == endpoint.port &&
              again.endpoint->path == endpoint.path &&
              again.endpoint->database == endpoint.database &&
              again.endpoint->sentinels == endpoint.sentinels &&
              again.endpoint->service == endpoint.service && again.endpoint->tls == endpoint.tls,
          "the name is that of the same endpoint: " + endpoint.name());
  require(again.endpoint->user.empty() && again.endpoint->password.empty(),
          "the name has no credentials: " + endpoint.name());
}

/// Schemes are good in any case.
bool is_path(std::string_view url) {
  constexpr std::string_view scheme = "unix:///";
  return url.size() >= scheme.size() &&
         std::equal(scheme.begin(), scheme.end(), url.begin(), [](char expected, char given) {
           return std::tolower(static_cast<unsigned char>(given)) == expected;
         });
}

/// The URL with a secret at the front of its password; nothing when it has no place for one.
std::optional<std::string> with_secret(std::string_view url, std::string_view secret) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::nullopt;
  const std::size_t colon = url.find(':', scheme + 3);
  const std::size_t at = url.rfind('@');
  if (at == std::string_view::npos || colon == std::string_view::npos || colon > at) {
    return std::nullopt;
  }
  if (is_path(url)) return std::nullopt;
  std::string out(url.substr(0, colon + 1));
  out += secret;
  out += url.substr(colon + 1);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view url(reinterpret_cast<const char*>(data), size);
  const Outcome outcome = parse(url);
  if (outcome.endpoint) check_name(*outcome.endpoint);

  constexpr std::string_view secret = "s3cr3tX";
  if (const auto telling = with_secret(url, secret)) {
    const Outcome told = parse(*telling);
    const std::string shown = told.endpoint ? told.endpoint->name() : told.message;
    require(url.find(secret) != std::string_view::npos || shown.find(secret) == std::string::npos,
            "the password is not shown: " + shown);
    require(told.endpoint.has_value() == outcome.endpoint.has_value(),
            "whether the URL is good does not depend on the secret");
  }
  return 0;
}
