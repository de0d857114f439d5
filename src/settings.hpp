#pragma once

#include <chrono>
#include <string>

#include <redlatch/options.hpp>

#include "url.hpp"

namespace redlatch::detail {

/// What all parts of one client know of its server.
struct Settings {
  Endpoint endpoint;
  ClientOptions options;
  std::string server;                       // the endpoint's name, for messages
  std::chrono::milliseconds min_uptime{0};  // servers that have not run for so long are refused
};

}  // namespace redlatch::detail
