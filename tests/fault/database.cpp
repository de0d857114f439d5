#include "database.hpp"

#include <stdexcept>

namespace redlatch::test {

Database::Database(const std::string& path) {
  sqlite3* opened = nullptr;
  const int status = sqlite3_open(path.c_str(), &opened);
  database_.reset(opened);
  if (status != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(opened));
  constexpr int patience = 60'000;  // with a process that is stopped while it writes
  sqlite3_busy_timeout(opened, patience);
  run("PRAGMA synchronous = OFF");
}

std::optional<std::int64_t> Database::run(const std::string& sql,
                                          std::initializer_list<std::int64_t> numbers) {
  const std::vector<std::int64_t> all = column(sql, numbers);
  return all.empty() ? std::nullopt : std::optional(all.back());
}

std::vector<std::int64_t> Database::column(const std::string& sql,
                                           std::initializer_list<std::int64_t> numbers) {
  sqlite3_stmt* prepared = nullptr;
  sqlite3_prepare_v2(database_.get(), sql.c_str(), -1, &prepared, nullptr);
  const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> statement(prepared,
                                                                             sqlite3_finalize);
  int index = 0;
  for (const std::int64_t number : numbers) sqlite3_bind_int64(prepared, ++index, number);
  std::vector<std::int64_t> all;
  int status = SQLITE_ROW;
  while ((status = sqlite3_step(prepared)) == SQLITE_ROW) {
    all.push_back(sqlite3_column_int64(prepared, 0));
  }
  if (status != SQLITE_DONE) {
    throw std::runtime_error(sql + ": " + sqlite3_errmsg(database_.get()));
  }
  return all;
}

}  // namespace redlatch::test
