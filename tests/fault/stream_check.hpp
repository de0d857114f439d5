#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace redlatch::test {

/// Follows what MONITOR says, and finds scripts that delete, set or extend a key which another
/// token holds than those that they were called with. Sets, queues and counters do not count, nor
/// what is not done by a script. A key is known from the first time on that it is set or deleted
/// for certain.
class StreamCheck {
 public:
  /// The next line.
  void take(std::string_view line);
  /// Lines are missing: nothing is known any more.
  void forget();

  /// Changes of keys of which it was known who held them.
  std::size_t checked() const noexcept { return checked_; }
  /// With the last lines about the key.
  const std::vector<std::string>& violations() const noexcept { return violations_; }

 private:
  using Key = std::pair<int, std::string>;  // with its database
  struct State {
    bool exists = false;
    std::string value{};
    std::int64_t until = 0;  // on the server's clock, in microseconds
  };
  struct Line;

  static Line parsed(std::string_view line);
  bool is_there(const Key& key, std::int64_t now) const;
  bool is_gone(const Key& key, std::int64_t now) const;
  void set(const Line& line, const Key& key);
  void apply(const Line& line, const Key& key);
  void check(const Line& line, const Key& key);

  std::map<Key, State> known_{};
  std::map<Key, std::deque<std::string>> lines_{};
  std::vector<std::string> arguments_{};  // of the script that runs
  std::size_t checked_ = 0;
  std::vector<std::string> violations_{};
};

}  // namespace redlatch::test
