#pragma once

#include <chrono>

#include <redlatch/options.hpp>

namespace redlatch::detail {

/// What a class of locks needs, and what its client has.
struct Demands {
  bool scripts = false;   // needed
  bool scripting = true;  // allowed by `ClientOptions`
  bool several_servers = false;
  bool min_hold = true;  // a release can leave the key for a time
};

/// Throws `Errc::invalid_argument` for an option that cannot work, and `Errc::unsupported` for
/// fencing or a lock that needs scripts where none may be sent. The message names the option.
void check(const LockOptions& options, const Demands& demands);

/// Throws `Errc::invalid_argument` for a ttl that cannot work.
void check_ttl(std::chrono::milliseconds ttl);

}  // namespace redlatch::detail
