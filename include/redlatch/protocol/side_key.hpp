#pragma once

#include <string>
#include <string_view>

namespace redlatch::protocol {

/// The name of a key that belongs to a lock: in the same slot of a Cluster, and beginning with the
/// lock's own name, so that permissions by prefix cover both. (A key with braces that do not make a
/// hash tag, such as `a}b`, may share no slot with it; with one server that makes no difference.)
/// Source: redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec, "hash tags".
inline std::string side_key(std::string_view key, std::string_view purpose) {
  const auto opens = key.find('{');
  const auto closes = key.find('}', opens);
  const bool has_tag =
      opens != std::string_view::npos && closes != std::string_view::npos && closes > opens + 1;
  std::string name;
  name.reserve(2 * key.size() + purpose.size() + 4);
  name.append(key).append(":").append(purpose);
  if (!has_tag) name.append(":{").append(key).append("}");
  return name;
}

}  // namespace redlatch::protocol
