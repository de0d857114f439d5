#pragma once

#include <functional>
#include <string>

#include <redlatch/options.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {

/// What `ClientOptions::map_address` makes of an address. Throws `IoError` when that throws, or is
/// no address.
inline Address mapped_by(const std::function<Address(const Address&)>& map_address,
                         const Address& address) {
  std::string why;
  try {
    Address result = map_address(address);
    if (!result.host.empty() && result.port != 0) return result;
    why = "has given no host or no port";
  } catch (...) {
    why = what_was_thrown();
  }
  throw IoError(Errc::unreachable, "ClientOptions::map_address " + why);
}

}  // namespace redlatch::detail
