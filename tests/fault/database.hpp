#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace redlatch::test {

/// A SQLite database file, for several processes. An object is for one thread, and not to be taken
/// along through a fork. Members throw std::runtime_error when the database fails. It does not
/// survive the end of the machine, only that of its processes.
class Database {
 public:
  /// Makes the file if it is not there.
  explicit Database(const std::string& path);

  /// Runs one statement with these numbers as ?1, ?2, ... Returns the first number of its last row,
  /// if there is one.
  std::optional<std::int64_t> run(const std::string& sql,
                                  std::initializer_list<std::int64_t> numbers = {});
  /// The first numbers of all rows.
  std::vector<std::int64_t> column(const std::string& sql,
                                   std::initializer_list<std::int64_t> numbers = {});

 private:
  std::unique_ptr<sqlite3, decltype(&sqlite3_close)> database_{nullptr, sqlite3_close};
};

}  // namespace redlatch::test
