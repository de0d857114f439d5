#include "counter.hpp"

namespace redlatch::test {

Counter::Counter(const std::string& path) : database_(path) {
  database_.run("PRAGMA journal_mode = MEMORY");
  database_.run(
      "CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY, value INTEGER, fence INTEGER)");
  database_.run("INSERT OR IGNORE INTO counter VALUES (1, 0, 0)");
}

std::optional<std::int64_t> Counter::read(std::uint64_t token) {
  return database_.run("UPDATE counter SET fence = ?1 WHERE fence <= ?1 RETURNING value",
                       {static_cast<std::int64_t>(token)});
}

bool Counter::write(std::int64_t value, std::uint64_t token) {
  const char* sql = "UPDATE counter SET fence = ?1, value = ?2 WHERE fence <= ?1 RETURNING value";
  return database_.run(sql, {static_cast<std::int64_t>(token), value}).has_value();
}

std::int64_t Counter::value() { return database_.run("SELECT value FROM counter").value(); }

}  // namespace redlatch::test
