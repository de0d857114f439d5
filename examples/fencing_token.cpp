// A resource that refuses a late holder. A process that was stopped for longer than its lease goes
// on as if nothing had happened; the number of its acquisition shows that it is late. The number is
// shown by the read, so that the resource refuses the late holder from the moment on when the new
// one has read. If only the write showed it, the late holder could write in between, and both would
// issue the same number.

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

using namespace std::chrono_literals;

/// The numbers of invoices, and the largest fencing token that was shown.
class Invoices {
 public:
  Invoices() {
    sqlite3* opened = nullptr;
    const int status = sqlite3_open(":memory:", &opened);
    database_.reset(opened);
    if (status != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(opened));
    run("CREATE TABLE invoices (next INTEGER, fence INTEGER)");
    run("INSERT INTO invoices VALUES (1, 0)");
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

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  Invoices invoices;

  redlatch::Lock slow(client, "invoices", {.ttl = 100ms, .auto_renew = false, .fencing = true});
  const std::uint64_t old_token = slow.fencing_token();
  const auto old_number = invoices.read(old_token);
  std::this_thread::sleep_for(200ms);  // stopped, suspended, swapped out: longer than the lease

  redlatch::Lock quick(client, "invoices", {.fencing = true});
  const auto number = invoices.read(quick.fencing_token());  // the same: the late one wrote nothing
  const bool issued_late = invoices.issue(old_number.value(), old_token);  // not by owns_lock()
  const bool issued = invoices.issue(number.value(), quick.fencing_token());
  std::cout << "invoice " << number.value() << ": the late holder "
            << (issued_late ? "issued it" : "was refused") << ", the holder "
            << (issued ? "issued it" : "was refused") << '\n';
  return issued && !issued_late ? 0 : 1;
}
