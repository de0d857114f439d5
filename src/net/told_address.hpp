#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/printable.hpp"

namespace redlatch::detail {

/// A number in what a server says of other servers; nothing if it is none, or larger than `max`.
inline std::optional<std::uint64_t> told_number(std::string_view text, std::uint64_t max) noexcept {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || value > max) return std::nullopt;
  return value;
}

/// The longest host name that is believed, in bytes.
inline constexpr std::size_t max_host_size = 255;

/// Whether a host that a server tells may be one.
inline bool is_told_host(std::string_view text) noexcept {
  return !text.empty() && text.size() <= max_host_size && is_printable(text);
}

}  // namespace redlatch::detail
