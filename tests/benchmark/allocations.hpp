#pragma once

#include <cstdint>

namespace redlatch::benchmark {

/// How often this thread has asked malloc, calloc or realloc for memory, be it by `new`, in the
/// library or in hiredis. Aligned allocations are not counted; nothing on this path makes any.
std::uint64_t allocations_of_this_thread() noexcept;

}  // namespace redlatch::benchmark
