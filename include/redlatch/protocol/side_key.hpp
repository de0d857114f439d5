#pragma once

#include <array>
#include <string>
#include <string_view>

namespace redlatch::protocol {

/// The pieces of the name of a key that belongs to a lock: `order:redlatch:queue:{order}`, or
/// `{order}:redlatch:queue` for a key with a hash tag. It is in the same slot of a Cluster, begins
/// with the lock's own name, so that permissions by prefix cover both, and has "redlatch" in it, so
/// that neither a program nor a lock of another name has the same. (A key with braces
/// that do not make a hash tag, such as `a}b`, may share no slot with it; with one server that
/// makes no difference.)
/// Source: redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec, "hash tags".
inline std::array<std::string_view, 6> side_key_pieces(std::string_view key,
                                                       std::string_view purpose) noexcept {
  const auto opens = key.find('{');
  const auto closes = key.find('}', opens);
  const bool has_tag =
      opens != std::string_view::npos && closes != std::string_view::npos && closes > opens + 1;
  if (has_tag) return {key, ":redlatch:", purpose};
  return {key, ":redlatch:", purpose, ":{", key, "}"};
}

inline std::string side_key(std::string_view key, std::string_view purpose) {
  std::string name;
  for (const std::string_view piece : side_key_pieces(key, purpose)) name += piece;
  return name;
}

}  // namespace redlatch::protocol
