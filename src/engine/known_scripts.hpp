#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <redlatch/protocol/script.hpp>

namespace redlatch::detail {

/// Scripts whose text was sent since the server last lacked one: it knows their hashes.
class KnownScripts {
 public:
  void clear() noexcept { count_ = 0; }
  /// With too many, the rest counts as not known, which costs a retry each.
  void add(const protocol::Script* script) noexcept {
    if (script == nullptr || count_ == all_.size() || contain(script)) return;
    all_[count_++] = script;
  }
  bool contain(const protocol::Script* script) const noexcept {
    const auto* const end = all_.data() + count_;
    return std::find(all_.data(), end, script) != end;
  }

 private:
  std::array<const protocol::Script*, 8> all_{};
  std::size_t count_ = 0;
};

}  // namespace redlatch::detail
