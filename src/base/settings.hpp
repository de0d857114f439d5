#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <redlatch/detail/clock.hpp>
#include <redlatch/event.hpp>
#include <redlatch/options.hpp>

#include "base/closings.hpp"
#include "base/routes.hpp"
#include "base/url.hpp"

namespace redlatch::detail {

class Resolver;

/// What a client does for others when it is one of a quorum's.
struct NodeRole {
  /// A script that is refused is said in no other way: what needs a connection for itself cannot be
  /// said to several servers at once.
  bool only_scripts = false;
  /// Servers that have not run for so long are refused.
  std::chrono::milliseconds min_uptime{0};
  /// Told the id of every server that a connection has reached, which is empty where the server
  /// does not tell it. Throws `IoError` to refuse it. None: it is not asked for.
  std::function<void(std::string_view id)> admit{};
  /// Takes what happens instead of `ClientOptions::on_event`, at once and with mutexes held.
  std::function<void(EventKind kind, std::string_view key, TimePoint since, std::error_code error)>
      forward{};
};

/// What all parts of one client know of its server.
struct Settings {
  Endpoint endpoint;
  ClientOptions options;
  std::string server;  // the endpoint's name, for messages
  NodeRole role{};
  std::shared_ptr<Resolver> resolver{};  // of the endpoint; none where there is no endpoint
  std::shared_ptr<Routes> routes{};      // the same
  std::shared_ptr<Closings> closings{};  // the same
};

}  // namespace redlatch::detail
