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
  /// What the script does to KEYS[1] if that holds ARGV[1]. `expire` sets its ttl to ARGV[2], and
  /// `replace` its value to ARGV[3], too. `remove`, `expire` and `replace` have other forms, for
  /// servers without scripts: see native.hpp. `other`: only a script can do it.
  enum class Effect { remove, expire, replace, other };

  std::string_view text;
  /// Of the text. src/base/script_hashes.cpp computes it: that takes the compiler a second, which
  /// users of these headers should not have to spend.
  const Sha1* hash;
  Effect effect;
  /// The purposes of the lock's further keys, which follow it: see side_key.hpp. Empty ones come
  /// last.
  std::array<std::string_view, 2> side_keys{};
  /// Whether the last argument is a packed list of further locks, each with its further keys: see
  /// packed.hpp.
  bool takes_more = false;
  /// Of a release: what takes its place while a cluster has the lock and its further keys at
  /// different nodes, with the same key and the same first argument, or those of `replace`. Null:
  /// nothing.
  const Script* alone = nullptr;

  std::string_view sha1() const noexcept { return hash->digits(); }
  std::size_t keys_of_each() const noexcept {
    return 1 + static_cast<std::size_t>(
                   std::count_if(side_keys.begin(), side_keys.end(),
                                 [](std::string_view purpose) { return !purpose.empty(); }));
  }
};

/// All scripts of the library.
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

/// The text of a script, joined from pieces that scripts share.
template <const std::string_view&... pieces>
inline constexpr std::string_view joined{characters_of<pieces...>.data(),
                                         characters_of<pieces...>.size()};

}  // namespace redlatch::protocol
