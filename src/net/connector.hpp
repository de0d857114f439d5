#pragma once

#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/settings.hpp"
#include "net/resp_stream.hpp"
#include "net/socket_address.hpp"

namespace redlatch::detail {

struct LoggedIn {
  RespStream stream;
  std::optional<protocol::Abilities> abilities{};  // what the server was asked for
  SocketAddress address{};
};

/// Connects to the server and sends the greeting, in time and until `cancel` gets readable. Of
/// several addresses, the first at which the whole greeting is answered wins (RFC 8305): the next
/// one is tried beside the others when nothing has happened for a while, or one has failed. Throws
/// `IoError`: how the last one failed.
LoggedIn log_in(const Settings& settings, TimePoint deadline, int cancel);

}  // namespace redlatch::detail
