#pragma once

#include <string>

#include <redlatch/detail/export.hpp>

namespace redlatch {

/// A random UUID (version 4, RFC 4122) in its form of 36 characters, from the operating system's
/// generator (getrandom(2)). Each thread draws the bytes of 16 tokens at a time, and keeps them on
/// a page that the kernel wipes in every forked child, so that no two processes make the same
/// token; if the kernel cannot do that, each token is drawn by itself. The token of a lease is the
/// right to release it, so treat it as a secret. Thread-safe. Throws `std::system_error` if the
/// system has no randomness to give.
REDLATCH_API std::string make_token();

}  // namespace redlatch
