#pragma once

#include <string_view>

#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/packed.hpp>

namespace redlatch::detail {

/// The keys that one command is about. A `MultiLock` has its first key in the first argument, and
/// the others packed in the last. Refers to the texts of the command.
class Keys {
 public:
  Keys(std::string_view first, const protocol::Command& command)
      : first_(first),
        more_(are_several(command) ? protocol::Unpacked(command.arguments().back().text())
                                   : protocol::Unpacked()) {}

  /// Whether a command is one for several keys.
  static bool are_several(const protocol::Command& command) noexcept {
    return command.script() != nullptr && command.script()->takes_more;
  }

  template <class Predicate>
  bool any(const Predicate& predicate) const {
    if (predicate(first_)) return true;
    for (protocol::Unpacked rest = more_; !rest.empty();) {
      if (predicate(rest.next())) return true;
    }
    return false;
  }
  bool have(std::string_view key) const noexcept {
    return any([&](std::string_view one) { return one == key; });
  }
  /// Whether both have a key in common.
  bool meet(const Keys& others) const noexcept {
    return others.any([&](std::string_view key) { return have(key); });
  }

 private:
  std::string_view first_;
  protocol::Unpacked more_;
};

}  // namespace redlatch::detail
