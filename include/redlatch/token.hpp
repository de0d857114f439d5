#pragma once

#include <string>

#include <redlatch/detail/export.hpp>

namespace redlatch {

/// A random UUID (version 4, RFC 4122) in its 36 character form, from the operating system's
/// generator (getrandom(2)). Each thread draws the bytes of 16 tokens at a time and keeps them on a
/// page that the kernel wipes in every forked child, so that no two processes make the same token;
/// where the kernel cannot do that, each token is drawn by itself. Who knows the token of a lease
/// can release it, so treat it as a secret. Throws `std::system_error` when the system has no
/// randomness to give. Any thread may call it.
REDLATCH_API std::string make_token();

}  // namespace redlatch
