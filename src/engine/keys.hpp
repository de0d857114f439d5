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

  bool have(std::string_view key) const noexcept {
    if (key == first_) return true;
    for (protocol::Unpacked rest = more_; !rest.empty();) {
      if (rest.next() == key) return true;
    }
    return false;
  }
  /// Whether both have a key in common.
  bool meet(const Keys& others) const noexcept {
    if (have(others.first_)) return true;
    for (protocol::Unpacked rest = others.more_; !rest.empty();) {
      if (have(rest.next())) return true;
    }
    return false;
  }

 private:
  std::string_view first_;
  protocol::Unpacked more_;
};

}  // namespace redlatch::detail
