#pragma once

#include <chrono>

#include <redlatch/options.hpp>

namespace redlatch::detail {

/// What a kind of a lock needs, and what it gets.
struct Demands {
  bool scripts = false;
  bool scripting = true;  // scripts may be sent
  bool several_servers = false;
};

/// Throws `Errc::invalid_argument` for an option that cannot work, and `Errc::unsupported` for
/// fencing, and for kinds of locks that need scripts, where none may be sent. The message names the
/// option.
void check(const LockOptions& options, const Demands& demands);

/// The same for a ttl alone.
void check_ttl(std::chrono::milliseconds ttl);

}  // namespace redlatch::detail
