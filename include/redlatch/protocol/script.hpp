#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace redlatch::protocol {

/// A Lua script.
struct Script {
  /// What it does to KEYS[1] while that holds ARGV[1], which names the way for servers that run no
  /// scripts; or something that only a script can do.
  enum class Effect { remove, expire, other };

  std::string_view text;
  std::string_view sha1;
  /// How many of its arguments are keys, the first of them the lock.
  std::size_t keys;
  Effect effect;
  /// The purposes of the keys behind those, which belong to the lock: see side_key.hpp. Empty ones
  /// come last.
  std::array<std::string_view, 2> side_keys{};

  std::size_t all_keys() const noexcept {
    return keys + static_cast<std::size_t>(
                      std::count_if(side_keys.begin(), side_keys.end(),
                                    [](std::string_view purpose) { return !purpose.empty(); }));
  }
};

template <const std::string_view&... pieces>
consteval auto joined_characters() {
  std::array<char, (pieces.size() + ...)> all{};
  auto end = all.begin();
  ((end = std::copy(pieces.begin(), pieces.end(), end)), ...);
  return all;
}
template <const std::string_view&... pieces>
inline constexpr auto characters_of = joined_characters<pieces...>();

/// The text of a script from its pieces, some of which others have, too.
template <const std::string_view&... pieces>
inline constexpr std::string_view joined{characters_of<pieces...>.data(),
                                         characters_of<pieces...>.size()};

}  // namespace redlatch::protocol
