#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <redlatch/options.hpp>

#include "resolver.hpp"
#include "url.hpp"

namespace redlatch::detail {

/// What all parts of one client know of its server.
struct Settings {
  Endpoint endpoint;
  ClientOptions options;
  std::string server;                       // the endpoint's name, for messages
  std::chrono::milliseconds min_uptime{0};  // servers that have not run for so long are refused
  /// Told the id of every server that a connection has reached, which is empty where the server
  /// does not tell it. Throws `IoError` to refuse it. None: it is not asked for.
  std::function<void(std::string_view id)> admit{};
  std::shared_ptr<Resolver> resolver{};  // of the endpoint; none where there is no endpoint
};

}  // namespace redlatch::detail
