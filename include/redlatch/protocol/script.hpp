#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include <redlatch/protocol/sha1.hpp>

namespace redlatch::protocol {

/// A Lua script. The first of its arguments is the lock, a key.
struct Script {
  /// What it does to KEYS[1] while that holds ARGV[1], which names the way for servers that run no
  /// scripts; or something that only a script can do.
  enum class Effect { remove, expire, other };

  std::string_view text;
  /// Of the text. It is computed when the library is compiled, in src/script_hashes.cpp, because
  /// that takes a second, which users of these headers should not pay for.
  const Sha1* hash;
  Effect effect;
  /// The purposes of the keys behind it, which belong to the lock: see side_key.hpp. Empty ones
  /// come last.
  std::array<std::string_view, 2> side_keys{};
  /// The last argument is a list of further locks, whose keys follow in the same way: see
  /// packed.hpp.
  bool takes_more = false;

  std::string_view sha1() const noexcept { return hash->digits(); }
  std::size_t keys_of_each() const noexcept {
    return 1 + static_cast<std::size_t>(
                   std::count_if(side_keys.begin(), side_keys.end(),
                                 [](std::string_view purpose) { return !purpose.empty(); }));
  }
};

/// All scripts that a client may send.
std::span<const Script* const> all_scripts() noexcept;

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
