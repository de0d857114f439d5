#pragma once

#include <string>

#include <redlatch/options.hpp>

#include "url.hpp"

namespace redlatch::detail {

/// What all parts of one client know of its server.
struct Settings {
  Endpoint endpoint;
  ClientOptions options;
  std::string server;  // the endpoint's name, for messages
};

}  // namespace redlatch::detail
