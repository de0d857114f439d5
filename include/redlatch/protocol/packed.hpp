#pragma once

#include <charconv>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

/// Several texts in one argument of a command, each behind its length: `3:job4:mail`.
namespace redlatch::protocol {

inline std::string packed(std::span<const std::string> texts) {
  std::string all;
  for (const std::string& text : texts) {
    all.append(std::to_string(text.size())).append(1, ':').append(text);
  }
  return all;
}

/// Reads the texts of a packed list, which has to outlive it, one after the other.
class Unpacked {
 public:
  Unpacked() = default;
  explicit Unpacked(std::string_view list) noexcept : rest_(list) {}

  bool empty() const noexcept { return rest_.empty(); }
  std::size_t size() const noexcept {
    std::size_t count = 0;
    for (Unpacked copy(*this); !copy.empty(); ++count) copy.next();
    return count;
  }
  /// Removes the first text, and returns it. There must be one.
  std::string_view next() noexcept {
    std::size_t length = 0;
    const char* const colon =
        std::from_chars(rest_.data(), rest_.data() + rest_.size(), length).ptr;
    rest_.remove_prefix(static_cast<std::size_t>(colon - rest_.data()) + 1);
    const std::string_view text = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return text;
  }

 private:
  std::string_view rest_{};
};

}  // namespace redlatch::protocol
