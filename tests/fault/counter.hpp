#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "database.hpp"

namespace redlatch::test {

/// A number in a database file, for many processes, and the largest fencing token that it has been
/// shown. A smaller one is refused; where all tokens are 0, none is.
///
/// A read is refused, and its token remembered, like a write. Otherwise a process whose lease is
/// over could write between the next holder's read and its first write, with a token that is still
/// the largest, and the next holder would write over that. So no smaller token writes
/// after a read, and what is written is always one more than what is there.
class Counter {
 public:
  /// Makes the file when it is not there. Throws std::runtime_error, as all members do, when the
  /// database fails. Not to be taken along through a fork.
  explicit Counter(const std::string& path);

  /// Nothing, and false: refused.
  std::optional<std::int64_t> read(std::uint64_t token);
  bool write(std::int64_t value, std::uint64_t token);

  /// For who looks at it from outside.
  std::int64_t value();

 private:
  Database database_;
};

}  // namespace redlatch::test
