#pragma once

#include <optional>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/native.hpp>

#include "base/settings.hpp"
#include "net/socket_address.hpp"
#include "net/wire.hpp"

namespace redlatch::detail {

struct LoggedIn {
  Wire wire;
  std::optional<protocol::Abilities> abilities{};  // none: the greeting did not ask for them
  SocketAddress address{};
};

/// Connects to the server and sends the greeting, until `deadline` or until `cancel` gets readable.
/// Of several addresses, the first at which the whole greeting is answered wins (RFC 8305): the
/// next attempt begins beside the others after at most 250 ms, or when one has failed.
/// Throws the `IoError` of the last attempt.
LoggedIn log_in(const Settings& settings, TimePoint deadline, int cancel);

}  // namespace redlatch::detail
