#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "database.hpp"

namespace redlatch::test {

/// What the times of several processes are compared by.
using Clock = std::chrono::steady_clock;

/// What holders of locks do side by side. The campaign looks afterwards whether it was allowed.
enum class Claim { sequence = 1, rendering, reading, writing, report };

/// The books of the invoice service: a database for several processes, an object for each thread.
/// The numbers called token are fencing tokens. Each read shows one, and is refused, with nothing
/// as its result, if a larger one was shown before; so is a write whose token is not the one that
/// was shown last, with false. Members throw std::runtime_error when the database fails.
class Books {
 public:
  static constexpr int accounts = 8;
  static constexpr std::int64_t first_balance = 1000;

  /// Creates empty books if there are none.
  explicit Books(const std::string& path);

  std::optional<std::int64_t> next_number(std::uint64_t token);
  std::optional<std::int64_t> balance(int account, std::uint64_t token);
  /// What is known of an account, and by which token.
  struct Known {
    int account;
    std::int64_t balance;
    std::uint64_t token;
  };
  /// Books an invoice with this number, which is the next one by `token`.
  bool issue(std::int64_t number, std::uint64_t token, const Known& debtor, std::int64_t amount);
  bool transfer(const Known& from, const Known& to, std::int64_t amount);

  /// The last night with a report.
  std::optional<std::int64_t> last_report(std::uint64_t token);
  bool report(std::int64_t night, std::uint64_t token);

  std::optional<std::int64_t> next_step(std::uint64_t token);
  bool take_step(std::int64_t step, std::uint64_t token);

  std::optional<std::int64_t> setting(std::uint64_t token);
  bool set(std::int64_t setting, std::uint64_t token);

  /// Notes that a lock was claimed for something, from `begin` to now or to the end of the lock's
  /// validity, whichever came first. A process that was stopped claims nothing from then on.
  void note(Claim claim, Clock::time_point begin, Clock::time_point valid_until);
  void count(const std::string& what);
  std::int64_t counted(const std::string& what);

  Database& database() noexcept { return database_; }

 private:
  template <class Change>
  bool in_transaction(Change change);
  bool book(const Known& account, std::int64_t amount);

  Database database_;
};

}  // namespace redlatch::test
