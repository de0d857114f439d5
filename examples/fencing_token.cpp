// A resource that refuses whoever comes too late. Somebody who was stopped for longer than the
// lease goes on as if nothing had happened; the number of the acquisition shows that it is over.

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

using namespace std::chrono_literals;

/// One account, which remembers the largest fencing token that has written to it.
class Account {
 public:
  Account() {
    sqlite3* opened = nullptr;
    const int status = sqlite3_open(":memory:", &opened);
    database_.reset(opened);
    if (status != SQLITE_OK) throw std::runtime_error(sqlite3_errmsg(opened));
    run("CREATE TABLE account (balance INTEGER, fence INTEGER)", 0, 0);
    run("INSERT INTO account VALUES (?1, ?2)", 100, 0);
  }

  /// False: somebody with a larger token has been here already.
  bool write(std::int64_t balance, std::uint64_t token) {
    run("UPDATE account SET balance = ?1, fence = ?2 WHERE fence <= ?2", balance,
        static_cast<std::int64_t>(token));
    return sqlite3_changes(database_.get()) == 1;
  }

 private:
  void run(const char* sql, std::int64_t first, std::int64_t second) {
    sqlite3_stmt* prepared = nullptr;
    sqlite3_prepare_v2(database_.get(), sql, -1, &prepared, nullptr);
    const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> statement(prepared,
                                                                               sqlite3_finalize);
    sqlite3_bind_int64(prepared, 1, first);
    sqlite3_bind_int64(prepared, 2, second);
    if (sqlite3_step(prepared) != SQLITE_DONE) {
      throw std::runtime_error(sqlite3_errmsg(database_.get()));
    }
  }

  std::unique_ptr<sqlite3, decltype(&sqlite3_close)> database_{nullptr, sqlite3_close};
};

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  Account account;

  redlatch::Lock slow(client, "account:1", {.ttl = 100ms, .auto_renew = false, .fencing = true});
  const std::uint64_t old_token = slow.fencing_token();
  std::this_thread::sleep_for(200ms);  // stopped, suspended, swapped out: longer than the lease

  redlatch::Lock quick(client, "account:1", {.fencing = true});
  const bool written = account.write(150, quick.fencing_token());
  const bool overwritten = account.write(70, old_token);  // did not look at owns_lock()
  std::cout << "the one who holds the lock " << (written ? "wrote" : "was refused")
            << ", the late one " << (overwritten ? "wrote" : "was refused") << '\n';
  return written && !overwritten ? 0 : 1;
}
