// Three processes of the invoice service under faults: killed, stopped for longer than the ttl,
// told to end while they wait, started before the server; and a server that restarts, with its keys
// and without, and loses a key. What they have done is looked at afterwards. A few seconds with
// each fault once; with REDLATCH_MINUTES, as in ./dev campaign service, for that long.
// REDLATCH_SEED is what the order and the times of the faults are drawn from.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "books.hpp"
#include "child.hpp"
#include "environment.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace service_test {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr std::size_t processes = 3;
constexpr milliseconds ttl = 600ms;
constexpr milliseconds night = 2s;
constexpr milliseconds min_hold = night / 4;  // as the service has it
constexpr milliseconds skew = 20ms;           // between the clocks of two processes
constexpr milliseconds time_to_end = 10s;     // after SIGTERM, with a machine that has more to do
constexpr milliseconds time_to_heal = 30s;

/// A period in which the server may have given a lock away twice, as it had forgotten the first.
struct Excuse {
  Clock::time_point begin;
  Clock::time_point end;
};

/// The claims of one kind of lock, and whether they were allowed side by side.
class Sweep {
 public:
  Sweep(Database& database, std::vector<Excuse> excuses) : excuses_(std::move(excuses)) {
    const auto claims = database.column("SELECT claim FROM claims ORDER BY id");
    const auto began = database.column("SELECT began FROM claims ORDER BY id");
    const auto ended = database.column("SELECT ended FROM claims ORDER BY id");
    for (std::size_t i = 0; i < claims.size(); ++i) {
      if (ended[i] <= began[i]) continue;
      moments_.push_back({began[i], +1, static_cast<Claim>(claims[i])});
      moments_.push_back({ended[i], -1, static_cast<Claim>(claims[i])});
      if (claims[i] == static_cast<std::int64_t>(Claim::report)) {
        reports_.emplace_back(began[i], ended[i]);
      }
    }
    std::ranges::sort(moments_, {}, [](const Moment& one) { return std::pair(one.at, one.step); });
    std::ranges::sort(reports_);
    sweep();
    compare_reports();
  }

  std::size_t seen(Claim claim) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        moments_, [&](const Moment& one) { return one.step > 0 && one.claim == claim; }));
  }
  int violations(Claim claim) const { return violations_[index(claim)]; }
  int excused(Claim claim) const { return excused_[index(claim)]; }

 private:
  struct Moment {
    std::int64_t at;
    int step;
    Claim claim;
  };
  static std::size_t index(Claim claim) { return static_cast<std::size_t>(claim); }

  bool is_allowed(Claim claim) const {
    const auto active = [&](Claim one) { return active_[index(one)]; };
    switch (claim) {
      case Claim::sequence:
        return active(Claim::sequence) <= 1;
      case Claim::rendering:
        return active(Claim::rendering) <= 2;
      case Claim::reading:
      case Claim::writing:
        return active(Claim::writing) + (active(Claim::reading) > 0 ? 1 : 0) <= 1;
      case Claim::report:
        break;
    }
    return true;
  }
  void sweep() {
    for (const Moment& moment : moments_) {
      active_[index(moment.claim)] += moment.step;
      if (moment.step > 0 && !is_allowed(moment.claim)) note(moment.claim, moment.at, moment.at);
    }
  }
  /// No two were acquired within min_hold of each other: not even from before the one to behind the
  /// other, whichever of them was the first. An attempt that had to connect may have begun before
  /// one that was made in the meantime.
  void compare_reports() {
    for (std::size_t i = 1; i < reports_.size(); ++i) {
      const auto& [began, ended] = reports_[i - 1];
      const auto& [next_began, next_ended] = reports_[i];
      if (Clock::duration(std::max(next_ended - began, ended - next_began)) < min_hold) {
        note(Claim::report, began, std::max(ended, next_ended));
      }
    }
  }
  void note(Claim claim, std::int64_t from, std::int64_t to) {
    const bool is_excused = std::ranges::any_of(excuses_, [&](const Excuse& excuse) {
      return from <= excuse.end.time_since_epoch().count() &&
             to >= excuse.begin.time_since_epoch().count();
    });
    ++(is_excused ? excused_ : violations_)[index(claim)];
  }

  std::vector<Excuse> excuses_;
  std::vector<Moment> moments_{};
  std::vector<std::pair<std::int64_t, std::int64_t>> reports_{};
  std::array<int, 8> active_{};
  std::array<int, 8> violations_{};
  std::array<int, 8> excused_{};
};

class InvoiceService : public testing::Test {
 protected:
  InvoiceService() {
    Books books(path_);
    for (std::size_t i = 0; i < processes; ++i) start(i);
  }
  ~InvoiceService() override {
    if (HasFailure()) print_log();
  }

  struct Fault {
    const char* name;
    std::function<bool()> cause;  // whether it landed
    int tried = 0;
    int landed = 0;
  };

  void cause(Fault& fault) {
    ++fault.tried;
    if (fault.cause()) ++fault.landed;
    std::this_thread::sleep_for(random_time(100ms, 400ms));
  }

  /// All processes work again.
  void heal() {
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < processes; ++i) {
      const std::int64_t before = issued(i);
      EXPECT_TRUE(eventually([&] { return issued(i) > before; }, time_to_heal)) << names_[i];
    }
    const auto healed = std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
    std::cout << "all processes at work " << healed.count() << " ms after the last fault\n";
    const std::int64_t tonight = (Clock::now() - began_) / night;
    Database database(path_);
    EXPECT_TRUE(eventually(
        [&] { return database.run("SELECT last FROM reports").value() >= tonight; }, time_to_heal));
  }

  void end() {
    for (std::size_t i = 0; i < processes; ++i) end(i);
  }

  std::vector<Fault> faults_{
      {"SIGKILL of a holder", [this] { return kill_holder(); }},
      {"SIGSTOP of a holder, for longer than the ttl", [this] { return stop_holder(); }},
      {"SIGTERM", [this] { return terminate(); }},
      {"SIGTERM while the server is down", [this] { return terminate_without_server(); }},
      {"start while the server is down", [this] { return start_without_server(); }},
      {"restart of the server that keeps its keys", [this] { return restart(true); }},
      {"restart of the server that forgets them", [this] { return restart(false); }},
      {"DEL of a held key", [this] { return delete_key(); }}};

  const unsigned seed_ = chosen("REDLATCH_SEED", 1);
  std::mt19937 random_{seed_};
  std::vector<Excuse> excuses_{};
  milliseconds longest_end_{0};
  const TemporaryDirectory directory_{};
  const std::string path_ = directory_.path() + "/books";

 private:
  milliseconds random_time(milliseconds least, milliseconds most) {
    return least + milliseconds(random_() % static_cast<unsigned>((most - least).count()));
  }
  std::size_t any_process() { return random_() % processes; }

  /// Each process has a name of its own, which its locks have as their label.
  void start(std::size_t index) {
    names_[index] = "p" + std::to_string(index) + "-" + std::to_string(++started_);
    const auto first_night = began_ + static_cast<int>(index) * skew;
    const std::vector<std::string> words{REDLATCH_INVOICE_SERVICE,
                                         server_.unix_url(),
                                         path_,
                                         names_[index],
                                         std::to_string(ttl.count()),
                                         std::to_string(night.count()),
                                         std::to_string(first_night.time_since_epoch().count()),
                                         std::to_string(seed_ + 100 * started_)};
    const std::string log = directory_.path() + "/log";
    children_[index] = std::make_unique<Child>([&] {
      // As the service does: a SIGTERM that comes before that must not be lost, or kill it.
      sigset_t ending;
      ::sigemptyset(&ending);
      ::sigaddset(&ending, SIGTERM);
      ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
      ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), STDERR_FILENO);
      std::vector<char*> argv;
      for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
    });
  }

  void print_log() const {
    std::ifstream file(directory_.path() + "/log");
    std::cout << "what the processes said:\n" << file.rdbuf();
  }

  std::int64_t issued(std::size_t index) { return Books(path_).counted(names_[index]); }

  /// The key of a lock that a process holds; empty for none.
  std::string held_by(std::size_t index) {
    RawClient raw(server_.socket());
    for (const char* key :
         {"invoices", "report", "account:0", "account:1", "account:2", "migration"}) {
      if (raw.get(key).ends_with(" " + names_[index])) return key;
    }
    for (const char* key : {"render", "config"}) {
      for (const RawReply& member : raw.command({"ZRANGE", key, "0", "-1"}).elements) {
        if (member.text.ends_with(" " + names_[index])) return key;
      }
    }
    return {};
  }

  /// Stops any process that holds a lock, and returns it and the key.
  std::pair<std::size_t, std::string> stop_a_holder() {
    std::size_t index = any_process();
    std::string key;
    eventually([&] {
      children_[index]->stop();
      key = held_by(index);
      if (!key.empty()) return true;
      children_[index]->go_on();
      index = any_process();
      return false;
    });
    return {index, key};
  }

  bool kill_holder() {
    const auto [index, key] = stop_a_holder();
    children_[index]->kill();
    start(index);
    return !key.empty();
  }

  /// It landed if the lock was not its own any more when it went on.
  bool stop_holder() {
    const auto [index, key] = stop_a_holder();
    std::this_thread::sleep_for(random_time(3 * ttl / 2, 3 * ttl));
    const bool is_lost = !key.empty() && held_by(index) != key;
    children_[index]->go_on();
    return is_lost;
  }

  bool end(std::size_t index) {
    const auto begin = Clock::now();
    children_[index]->terminate();
    const int status = children_[index]->wait();
    longest_end_ =
        std::max(longest_end_, std::chrono::duration_cast<milliseconds>(Clock::now() - begin));
    EXPECT_EQ(status, 0) << names_[index];
    return status == 0;
  }

  bool terminate() {
    const std::size_t index = any_process();
    const bool ended = end(index);
    start(index);
    return ended;
  }

  bool terminate_without_server() {
    const std::size_t index = any_process();
    server_.kill();
    const bool ended = end(index);
    start(index);
    std::this_thread::sleep_for(random_time(0ms, 500ms));
    server_.start();
    return ended;
  }

  bool start_without_server() {
    const std::size_t index = any_process();
    server_.kill();
    children_[index]->kill();
    start(index);
    std::this_thread::sleep_for(random_time(100ms, 800ms));
    server_.start();
    const bool works = eventually([&] { return issued(index) > 0; }, time_to_heal);
    EXPECT_TRUE(works) << names_[index];
    return works;
  }

  bool restart(bool keeps) {
    const auto begin = Clock::now();
    server_.kill();
    if (!keeps) std::filesystem::remove_all(server_.directory() + "/appendonlydir");
    std::this_thread::sleep_for(random_time(0ms, 300ms));
    server_.start();
    if (!keeps) excuses_.push_back({begin, Clock::now() + ttl});
    return true;
  }

  bool delete_key() {
    RawClient raw(server_.socket());
    constexpr std::array keys{"invoices", "migration", "render", "config", "account:1", "report"};
    const auto begin = Clock::now();
    const bool deleted = eventually([&] {
      return raw.command({"DEL", keys[random_() % keys.size()]}).integer == 1;
    });
    excuses_.push_back({begin, Clock::now() + ttl});
    return deleted;
  }

  const Clock::time_point began_ = Clock::now();
  RedisServer server_{{"--appendonly", "yes", "--appendfsync", "no"}};
  unsigned started_ = 0;
  std::array<std::string, processes> names_{};
  std::array<std::unique_ptr<Child>, processes> children_{};
};

/// One line of the table, and a failure if there are violations.
void report(const std::string& invariant, std::size_t seen, std::size_t violations,
            int excused = 0) {
  std::cout << std::left << std::setw(52) << invariant << std::right << std::setw(9) << seen
            << std::setw(12) << violations << std::setw(9) << excused << '\n';
  EXPECT_EQ(violations, 0U) << invariant;
}

/// How many of the numbers, in the order of their entry, are not the next one, from 1 on.
std::size_t out_of_order(const std::vector<std::int64_t>& numbers) {
  std::size_t count = 0;
  std::int64_t last = 0;
  for (const std::int64_t number : numbers) {
    if (number != last + 1) ++count;
    last = number;
  }
  return count;
}

std::size_t wrong_balances(Database& database) {
  std::size_t count = 0;
  for (int account = 0; account < Books::accounts; ++account) {
    const auto balance =
        database.run("SELECT balance FROM accounts WHERE id = ?1", {account}).value();
    const auto moved =
        database.run("SELECT coalesce(sum(amount), 0) FROM ledger WHERE account = ?1", {account});
    if (balance != Books::first_balance + moved.value()) ++count;
  }
  const auto all = database.run("SELECT sum(balance) FROM accounts").value();
  const auto invoices = database.run("SELECT count(*) FROM invoices").value();
  return count + (all == Books::accounts * Books::first_balance - invoices ? 0 : 1);
}

void check(Database& database, const std::vector<Excuse>& excuses) {
  const Sweep sweep(database, excuses);
  const auto numbers = [&](const std::string& table) {
    return database.column("SELECT number FROM " + table + " ORDER BY id");
  };
  std::cout << std::left << std::setw(52) << "invariant" << std::right << std::setw(9) << "seen"
            << std::setw(12) << "violations" << std::setw(9) << "excused" << '\n';
  report("numbers of invoices unique and in order", numbers("invoices").size(),
         out_of_order(numbers("invoices")));
  report("balances are the sums of the ledger", numbers("invoices").size(),
         wrong_balances(database));
  report("a report for each night, and one", numbers("nights").size(),
         out_of_order(numbers("nights")));
  report("steps of the migration once and in order", numbers("steps").size(),
         out_of_order(numbers("steps")));
  const auto of_sweep = [&](const std::string& invariant, Claim claim) {
    report(invariant, sweep.seen(claim), static_cast<std::size_t>(sweep.violations(claim)),
           sweep.excused(claim));
  };
  of_sweep("one holder of the sequence", Claim::sequence);
  of_sweep("at most 2 renderings", Claim::rendering);
  of_sweep("no reader beside a writer", Claim::reading);
  of_sweep("no writer beside another or a reader", Claim::writing);
  of_sweep("no report within min_hold of the one before", Claim::report);
}

TEST_F(InvoiceService, StaysRightUnderFaults) {
  const unsigned minutes = chosen("REDLATCH_MINUTES", 0);
  SCOPED_TRACE("REDLATCH_SEED=" + std::to_string(seed_) +
               " REDLATCH_MINUTES=" + std::to_string(minutes));
  std::cout << "seed " << seed_ << '\n';
  for (int round = 0; round < 2; ++round) {
    for (Fault& fault : faults_) cause(fault);
  }
  const auto end_of_faults = Clock::now() + std::chrono::minutes(minutes);
  while (minutes > 0 && Clock::now() < end_of_faults && !HasFailure()) {
    cause(faults_[random_() % faults_.size()]);
  }
  heal();
  end();
  std::cout << std::left << std::setw(52) << "fault" << std::right << std::setw(9) << "tried"
            << std::setw(12) << "landed" << '\n';
  for (const Fault& fault : faults_) {
    std::cout << std::left << std::setw(52) << fault.name << std::right << std::setw(9)
              << fault.tried << std::setw(12) << fault.landed << '\n';
  }
  Books books(path_);
  std::cout << "ended by SIGTERM: " << books.counted("terminated")
            << ", while a thread waited for a lock: " << books.counted("terminated while waiting")
            << ", the longest after " << longest_end_.count() << " ms\n"
            << "stopped before a write, as the lock was lost: " << books.counted("lost")
            << ", refused as late: " << books.counted("refused") << '\n';
  EXPECT_LT(longest_end_, time_to_end);
  check(books.database(), excuses_);
}

}  // namespace service_test
}  // namespace redlatch::test
