#pragma once

#include <chrono>
#include <memory>
#include <string>

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
  std::shared_ptr<Resolver> resolver{};     // of the endpoint; none where there is no endpoint
};

}  // namespace redlatch::detail
