#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

/// The numbers of invoices in a SQLite database, and the largest fencing token that was shown. Each
/// thread has an object of its own.
///
/// The token is shown by the read, so that the database refuses a late holder from the moment on
/// when the new one has read. If only the write showed it, the late holder could write in between,
/// and both would issue the same number.
class Invoices {
 public:
  explicit Invoices(const std::string& path) {
    sqlite3* opened = nullptr;
    const int status = sqlite3_open(path.c_str(), &opened);
    database_.reset(opened);
    if (status != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(opened));
    sqlite3_busy_timeout(opened, 10'000);
    run("CREATE TABLE IF NOT EXISTS invoices (id INTEGER PRIMARY KEY, next INTEGER, fence "
        "INTEGER)");
    run("INSERT OR IGNORE INTO invoices VALUES (1, 1, 0)");
  }

  /// The next number. Nothing: a later holder has been here.
  std::optional<std::int64_t> read(std::uint64_t token) {
    return run("UPDATE invoices SET fence = ?1 WHERE fence <= ?1 RETURNING next", token);
  }
  /// Issues an invoice with the number that `read` has returned. False: a later holder has been
  /// here since, and will issue that number.
  bool issue(std::int64_t number, std::uint64_t token) {
    return run("UPDATE invoices SET next = ?2 + 1 WHERE fence = ?1 RETURNING next", token, number)
        .has_value();
  }

 private:
  /// The number that the statement returns, if any.
  std::optional<std::int64_t> run(const char* sql, std::uint64_t token = 0,
                                  std::int64_t number = 0) {
    sqlite3_stmt* prepared = nullptr;
    sqlite3_prepare_v2(database_.get(), sql, -1, &prepared, nullptr);
    const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> statement(prepared,
                                                                               sqlite3_finalize);
    sqlite3_bind_int64(prepared, 1, static_cast<std::int64_t>(token));
    sqlite3_bind_int64(prepared, 2, number);
    std::optional<std::int64_t> result;
    int status = SQLITE_ROW;
    while ((status = sqlite3_step(prepared)) == SQLITE_ROW) {
      result = sqlite3_column_int64(prepared, 0);
    }
    if (status != SQLITE_DONE) throw std::runtime_error(sqlite3_errmsg(database_.get()));
    return result;
  }

  std::unique_ptr<sqlite3, decltype(&sqlite3_close)> database_{nullptr, sqlite3_close};
};
