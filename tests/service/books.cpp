#include "books.hpp"

#include <algorithm>
#include <initializer_list>

namespace redlatch::test {
namespace {

std::int64_t number(std::uint64_t token) { return static_cast<std::int64_t>(token); }
std::int64_t number(Clock::time_point time) { return time.time_since_epoch().count(); }

}  // namespace

Books::Books(const std::string& path) : database_(path) {
  database_.run("PRAGMA journal_mode = WAL");
  if (database_.run("SELECT 1 FROM sqlite_master WHERE name = 'counts'")) return;
  in_transaction([&] {
    for (const char* one : {"sequence", "reports", "migration", "config"}) {
      const std::string name = one;
      database_.run("CREATE TABLE IF NOT EXISTS " + name +
                    " (id INTEGER PRIMARY KEY, last, fence)");
      database_.run("INSERT OR IGNORE INTO " + name + " VALUES (1, 0, 0)");
    }
    for (const char* table :
         {"accounts (id INTEGER PRIMARY KEY, balance, fence)",
          "ledger (id INTEGER PRIMARY KEY, account, amount)",
          "invoices (id INTEGER PRIMARY KEY, number)", "steps (id INTEGER PRIMARY KEY, number)",
          "nights (id INTEGER PRIMARY KEY, number)",
          "claims (id INTEGER PRIMARY KEY, claim, began, ended)", "counts (what UNIQUE, times)"}) {
      database_.run("CREATE TABLE IF NOT EXISTS " + std::string(table));
    }
    for (int account = 0; account < accounts; ++account) {
      database_.run("INSERT OR IGNORE INTO accounts VALUES (?1, ?2, 0)", {account, first_balance});
    }
    return true;
  });
}

/// False, and nothing is changed, if `change` returns false.
template <class Change>
bool Books::in_transaction(Change change) {
  database_.run("BEGIN IMMEDIATE");
  bool changed = false;
  try {
    changed = change();
  } catch (...) {
    database_.run("ROLLBACK");
    throw;
  }
  database_.run(changed ? "COMMIT" : "ROLLBACK");
  return changed;
}

std::optional<std::int64_t> Books::next_number(std::uint64_t token) {
  return database_.run("UPDATE sequence SET fence = ?1 WHERE fence <= ?1 RETURNING last + 1",
                       {number(token)});
}

std::optional<std::int64_t> Books::balance(int account, std::uint64_t token) {
  return database_.run(
      "UPDATE accounts SET fence = ?2 WHERE id = ?1 AND fence <= ?2 RETURNING balance",
      {account, number(token)});
}

bool Books::book(const Known& known, std::int64_t amount) {
  if (!database_.run("UPDATE accounts SET balance = ?2 WHERE id = ?1 AND fence = ?3 RETURNING id",
                     {known.account, known.balance + amount, number(known.token)})) {
    return false;
  }
  database_.run("INSERT INTO ledger (account, amount) VALUES (?1, ?2)", {known.account, amount});
  return true;
}

bool Books::issue(std::int64_t next, std::uint64_t token, const Known& debtor,
                  std::int64_t amount) {
  return in_transaction([&] {
    if (!database_.run("UPDATE sequence SET last = ?1 WHERE fence = ?2 RETURNING id",
                       {next, number(token)})) {
      return false;
    }
    database_.run("INSERT INTO invoices (number) VALUES (?1)", {next});
    return book(debtor, -amount);
  });
}

bool Books::transfer(const Known& from, const Known& to, std::int64_t amount) {
  return in_transaction([&] { return book(from, -amount) && book(to, amount); });
}

std::optional<std::int64_t> Books::last_report(std::uint64_t token) {
  return database_.run("UPDATE reports SET fence = ?1 WHERE fence <= ?1 RETURNING last",
                       {number(token)});
}

bool Books::report(std::int64_t night, std::uint64_t token) {
  return in_transaction([&] {
    database_.run("INSERT INTO nights (number) VALUES (?1)", {night});
    return database_
        .run("UPDATE reports SET last = ?1 WHERE fence = ?2 RETURNING id", {night, number(token)})
        .has_value();
  });
}

std::optional<std::int64_t> Books::next_step(std::uint64_t token) {
  return database_.run("UPDATE migration SET fence = ?1 WHERE fence <= ?1 RETURNING last + 1",
                       {number(token)});
}

bool Books::take_step(std::int64_t step, std::uint64_t token) {
  return in_transaction([&] {
    database_.run("INSERT INTO steps (number) VALUES (?1)", {step});
    return database_
        .run("UPDATE migration SET last = ?1 WHERE fence = ?2 RETURNING id", {step, number(token)})
        .has_value();
  });
}

std::optional<std::int64_t> Books::setting(std::uint64_t token) {
  return database_.run("UPDATE config SET fence = ?1 WHERE fence <= ?1 RETURNING last",
                       {number(token)});
}

bool Books::set(std::int64_t setting, std::uint64_t token) {
  return database_
      .run("UPDATE config SET last = ?1 WHERE fence = ?2 RETURNING id", {setting, number(token)})
      .has_value();
}

void Books::note(Claim claim, Clock::time_point begin, Clock::time_point valid_until) {
  database_.run("INSERT INTO claims (claim, began, ended) VALUES (?1, ?2, ?3)",
                {static_cast<std::int64_t>(claim), number(begin),
                 number(std::min(Clock::now(), valid_until))});
}

void Books::count(const std::string& what) {
  database_.run("INSERT INTO counts VALUES ('" + what +
                "', 1) ON CONFLICT (what) DO UPDATE SET times = times + 1");
}

std::int64_t Books::counted(const std::string& what) {
  return database_.run("SELECT times FROM counts WHERE what = '" + what + "'").value_or(0);
}

}  // namespace redlatch::test
