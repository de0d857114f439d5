#pragma once

#include <algorithm>
#include <string_view>

namespace redlatch::detail {

/// Whether the character is in ASCII, and neither a space nor a control character.
constexpr bool is_printable(char c) noexcept { return c > ' ' && c <= '~'; }

/// Whether all characters are.
inline bool is_printable(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return is_printable(c); });
}

}  // namespace redlatch::detail
