#include "counter.hpp"

#include <stdexcept>

namespace redlatch::test {

Counter::Counter(const std::string& path) {
  sqlite3* opened = nullptr;
  const int status = sqlite3_open(path.c_str(), &opened);
  database_.reset(opened);
  if (status != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(opened));
  constexpr int patience = 60'000;  // with a process that is stopped while it writes
  sqlite3_busy_timeout(opened, patience);
  run("PRAGMA journal_mode = MEMORY");
  run("PRAGMA synchronous = OFF");
  run("CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, value INTEGER, fence INTEGER)");
  run("INSERT OR IGNORE INTO counter VALUES (1, 0, 0)");
}

std::optional<std::int64_t> Counter::read(std::uint64_t token) {
  return run("UPDATE counter SET fence = ?1 WHERE fence <= ?1 RETURNING value", token);
}

bool Counter::write(std::int64_t value, std::uint64_t token) {
  const char* sql = "UPDATE counter SET fence = ?1, value = ?2 WHERE fence <= ?1 RETURNING value";
  return run(sql, token, value).has_value();
}

std::int64_t Counter::value() { return run("SELECT value FROM counter").value(); }

/// The first number of the answer, if there is any.
std::optional<std::int64_t> Counter::run(const char* sql, std::uint64_t token, std::int64_t value) {
  sqlite3_stmt* prepared = nullptr;
  sqlite3_prepare_v2(database_.get(), sql, -1, &prepared, nullptr);
  const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> statement(prepared,
                                                                             sqlite3_finalize);
  sqlite3_bind_int64(prepared, 1, static_cast<std::int64_t>(token));
  sqlite3_bind_int64(prepared, 2, value);
  std::optional<std::int64_t> answer;
  int status = SQLITE_ROW;
  while ((status = sqlite3_step(prepared)) == SQLITE_ROW) {
    answer = sqlite3_column_int64(prepared, 0);
  }
  if (status != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(database_.get()));
  return answer;
}

}  // namespace redlatch::test
