#pragma once

#include <algorithm>
#include <cstddef>

namespace redlatch::test {

/// How far it is from one byte behind which a connection breaks to the next, of so many: 1. Under
/// a sanitizer, it is longer for more than 127 bytes: the cuts would be a third of all tests' time,
/// and other builds make each of them.
constexpr std::size_t stride([[maybe_unused]] std::size_t bytes) {
#ifdef REDLATCH_SANITIZED
  constexpr std::size_t enough = 64;
  return std::max<std::size_t>(1, bytes / enough);
#else
  return 1;
#endif
}

}  // namespace redlatch::test
