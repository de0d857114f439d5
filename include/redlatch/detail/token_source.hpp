#pragma once

#include <cstdint>
#include <string>

namespace redlatch::detail {

/// Leaves the memory of a token to the next one that this thread makes.
void recycle_token(std::string token) noexcept;

/// For a generator of numbers that need not be secret, from where tokens come from.
/// std::random_device would ask the processor, which takes many times as long on some.
std::uint_fast32_t random_seed();

}  // namespace redlatch::detail
