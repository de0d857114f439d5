#pragma once

#include <cstdint>
#include <string>

namespace redlatch::detail {

/// Keeps the memory of a token for the next one that this thread makes.
void recycle_token(std::string token) noexcept;

/// A seed for random numbers that need not be secret, from the source of the tokens:
/// std::random_device may use a processor instruction that is many times slower.
std::uint_fast32_t random_seed();

}  // namespace redlatch::detail
