#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <redlatch/detail/event_record.hpp>
#include <redlatch/options.hpp>

#include "base/closings.hpp"
#include "base/routes.hpp"
#include "base/url.hpp"

namespace redlatch::detail {

class CredentialSource;
class TlsContext;
class Topology;

/// What the connections of a client are for, if not for the locks of one server that a URL names.
struct NodeRole {
  /// Only a primary is accepted: a server of Sentinel's, which may have become a replica.
  bool must_be_primary = false;
  /// The log-in is all of the greeting: a Sentinel, which knows no scripts, or a node of a cluster
  /// that is only asked for the map of slots.
  bool only_login = false;
  /// The log-in is that of `ClientOptions::sentinel`, as errors say.
  bool is_sentinel = false;
  // The others are for one of a quorum's servers.

  /// The others may have granted what is in doubt at this one, so that the lock is held. The
  /// cleanup of an acquisition is up to the caller, which knows the votes of all.
  bool is_one_of_several = false;
  /// Scripts are sent in no other form when they are refused: WATCH needs a connection exclusively,
  /// for which a request to several servers cannot wait.
  bool only_scripts = false;
  /// Minimum uptime: a server with less is refused, as it may have restarted without its locks.
  std::chrono::milliseconds min_uptime{0};
  /// Called with the id of the server for every new connection; the id is empty where the server
  /// does not send it. Throws `IoError` to refuse the server. None: the id is not asked for.
  std::function<void(std::string_view id)> admit{};
  /// Whether a server may be used without its id: `min_uptime` is in the same reply, and needed.
  bool has_optional_id() const noexcept {
    return admit && min_uptime <= std::chrono::milliseconds::zero();
  }
  /// Called with events instead of `ClientOptions::on_event`, at once and with mutexes held.
  std::function<void(const EventRecord& record)> forward{};
};

/// What all parts of one client share. Constant, but for the last five, which guard themselves.
struct Settings {
  Endpoint endpoint;
  ClientOptions options;
  std::string server;  // the endpoint's name, for messages
  NodeRole role{};
  // Null in a quorum's own settings, which have no endpoint.
  std::shared_ptr<Topology> topology{};
  std::shared_ptr<TlsContext> tls{};                // null for a URL without TLS
  std::shared_ptr<CredentialSource> credentials{};  // also null where the URL has them
  std::shared_ptr<Routes> routes{};
  std::shared_ptr<Closings> closings{};
};

}  // namespace redlatch::detail
