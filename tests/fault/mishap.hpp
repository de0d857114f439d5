#pragma once

#include <array>
#include <string>

#include "redis_server.hpp"

namespace redlatch::test {

/// What can happen to a server that holds a lock and its fencing counter.
enum class Mishap {
  restart,   // which keeps nothing
  flush,     // of everything
  deletion,  // of the counter, as are the others
  expiry,
  eviction
};

inline constexpr std::array mishaps{Mishap::restart, Mishap::flush, Mishap::deletion,
                                    Mishap::expiry, Mishap::eviction};

/// True when it was seen to happen, and `key` was held at that moment. The server needs a
/// `maxmemory-policy` that evicts.
bool befall(RedisServer& server, const std::string& key, Mishap mishap);

}  // namespace redlatch::test
