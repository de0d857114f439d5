// A service as users of redlatch write it. It has four workers, which issue invoices with numbers
// of one sequence, transfer money, render, read and change the configuration, a nightly report, and
// a long migration, in each of several processes.
//
//   invoice_service URL DATABASE NAME TTL NIGHT START SEED
//
// TTL and NIGHT, the length of a night, are in milliseconds. START is when the first night begins,
// in nanoseconds of the steady clock.

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdint>
#include <iostream>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "books.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

struct Settings {
  std::string url;
  std::string database;
  std::string name;
  milliseconds ttl;
  milliseconds night;
  Clock::time_point start;
  unsigned seed;
};

/// A random number below `limit`.
unsigned draw(std::mt19937& random, unsigned limit) {
  return static_cast<unsigned>(random() % limit);
}

/// Writes a line as a whole.
void log(const std::string& text) { std::cerr << text + '\n'; }

void pause(milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, time, [] { return false; });
}

class Service {
 public:
  explicit Service(const Settings& settings) : settings_(settings) {}

  void work(unsigned seed, const std::stop_token& stop) {
    Books books(settings_.database);
    std::mt19937 random(seed);
    repeat(stop, [&] {
      const unsigned task = draw(random, 10);
      if (task < 4) issue_invoice(books, random, stop);
      if (task == 4 || task == 5) transfer(books, random, stop);
      if (task == 6) render(books, stop);
      if (task == 7 || task == 8) read_config(books, stop);
      if (task == 9) change_config(books, stop);
      pause(milliseconds(draw(random, 5)), stop);
    });
  }

  /// Each night has one report, by whichever process comes first by its clock.
  void report_nightly(const std::stop_token& stop) {
    Books books(settings_.database);
    std::int64_t known = 0;
    repeat(stop, [&] {
      const std::int64_t night = (Clock::now() - settings_.start) / settings_.night;
      if (known < night) known = report(books, night);
      pause(20ms, stop);
    });
  }

  void migrate(const std::stop_token& stop) {
    Books books(settings_.database);
    repeat(stop, [&] {
      Lock lock(client_, "migration", stop, options());
      if (!lock) return;
      while (lock.owns_lock() && !stop.stop_requested()) {
        const auto step = books.next_step(lock.fencing_token());
        pause(5ms, stop);
        if (!lock.owns_lock()) return books.count("lost");
        if (!step || !books.take_step(*step, lock.fencing_token())) return books.count("refused");
      }
    });
  }

  Metrics metrics() const { return client_.metrics(); }

 private:
  LockOptions options() const {
    return {.ttl = settings_.ttl, .fencing = true, .label = settings_.name, .ride_out = true};
  }
  LockOptions unnumbered() const {
    LockOptions unnumbered = options();
    unnumbered.fencing = false;
    return unnumbered;
  }

  template <class Task>
  void repeat(const std::stop_token& stop, Task task) {
    while (!stop.stop_requested()) {
      try {
        task();
      } catch (const Error& error) {
        if (!error.transient()) throw;
        log(error.what());
        pause(100ms, stop);
      }
    }
  }

  static int draw_account(std::mt19937& random) {
    return static_cast<int>(draw(random, Books::accounts));
  }
  static std::string account_key(int number) { return "account:" + std::to_string(number); }

  void issue_invoice(Books& books, std::mt19937& random, const std::stop_token& stop) {
    const int debtor = draw_account(random);
    Lock sequence(client_, "invoices", stop, options());
    if (!sequence) return;
    const auto began = Clock::now();
    const auto number = books.next_number(sequence.fencing_token());
    Lock account(client_, account_key(debtor), stop, options());
    if (!account) return;
    const auto balance = books.balance(debtor, account.fencing_token());
    if (!number || !balance) return books.count("refused");
    pause(1ms, stop);
    const auto valid_until = sequence.expires_at();
    if (!owns_all(sequence, account)) return books.count("lost");
    if (!books.issue(*number, sequence.fencing_token(), {debtor, *balance, account.fencing_token()},
                     1)) {
      return books.count("refused");
    }
    books.note(Claim::sequence, began, valid_until);
    books.count(settings_.name);
  }

  void transfer(Books& books, std::mt19937& random, const std::stop_token& stop) {
    const int from = draw_account(random);
    const int to = draw_account(random);
    if (from == to) return;
    MultiLock both(client_, {account_key(from), account_key(to)}, 500ms, stop, options());
    if (!both) return;
    const auto before = books.balance(from, both.fencing_token());
    const auto after = books.balance(to, both.fencing_token());
    if (!before || !after) return books.count("refused");
    pause(1ms, stop);
    if (!both.owns_lock()) return books.count("lost");
    if (!books.transfer({from, *before, both.fencing_token()}, {to, *after, both.fencing_token()},
                        7)) {
      books.count("refused");
    }
  }

  void render(Books& books, const std::stop_token& stop) {
    Permit permit(client_, "render", 2, stop, unnumbered());
    if (!permit) return;
    for (int page = 0; page < 5; ++page) {
      const auto began = Clock::now();
      const auto valid_until = permit.expires_at();
      if (!permit.owns_lock()) return books.count("lost");
      pause(4ms, stop);
      books.note(Claim::rendering, began, valid_until);
    }
  }

  void read_config(Books& books, const std::stop_token& stop) {
    ReadLock lock(client_, "config", stop, unnumbered());
    if (!lock) return;
    const auto began = Clock::now();
    const auto valid_until = lock.expires_at();
    if (!lock.owns_lock()) return;
    pause(1ms, stop);
    books.note(Claim::reading, began, valid_until);
  }

  void change_config(Books& books, const std::stop_token& stop) {
    WriteLock lock(client_, "config", stop, options());
    if (!lock) return;
    const auto began = Clock::now();
    const auto valid_until = lock.expires_at();
    const auto setting = books.setting(lock.fencing_token());
    pause(1ms, stop);
    if (!lock.owns_lock()) return books.count("lost");
    if (!setting || !books.set(*setting + 1, lock.fencing_token())) return books.count("refused");
    books.note(Claim::writing, began, valid_until);
  }

  /// The last night with a report, as far as this process knows.
  std::int64_t report(Books& books, std::int64_t night) {
    LockOptions once = options();
    once.min_hold = settings_.night / 4;
    const auto began = Clock::now();
    Lock lock(client_, "report", std::try_to_lock, once);
    if (!lock) return 0;
    books.note(Claim::report, began, Clock::now());
    const auto last = books.last_report(lock.fencing_token());
    for (std::int64_t next = last.value_or(night) + 1; next <= night; ++next) {
      if (!lock.owns_lock()) return 0;
      if (books.report(next, lock.fencing_token())) continue;
      books.count("refused");
      return 0;
    }
    return last ? night : 0;
  }

  static void log_event(const std::string& name, const Event& event) {
    const bool ends = event.kind == EventKind::lost || event.kind == EventKind::disconnected;
    if (!event.error && !ends) return;
    std::ostringstream text;
    text << name << ": " << event.kind << ' ' << event.key << ", " << event.detail;
    log(text.str());
  }

  Settings settings_;
  Client client_{
      settings_.url,
      {.connect_timeout = 500ms,
       .command_timeout = 300ms,
       .client_name = settings_.name,
       .on_event = [name = settings_.name](const Event& event) { log_event(name, event); }}};
};

void run(const Settings& settings) {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // before any thread begins
  Service service(settings);
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back(
        [&, i](const std::stop_token& stop) { service.work(settings.seed + i, stop); });
  }
  threads.emplace_back([&](const std::stop_token& stop) { service.report_nightly(stop); });
  threads.emplace_back([&](const std::stop_token& stop) { service.migrate(stop); });
  int signal = 0;
  sigwait(&ending, &signal);
  Books books(settings.database);
  books.count("terminated");
  if (service.metrics().waiting > 0) books.count("terminated while waiting");
  for (std::jthread& thread : threads) thread.request_stop();
}

}  // namespace
}  // namespace redlatch::test

int main(int argc, char** argv) {
  if (argc != 8) return 64;
  try {
    redlatch::test::run({.url = argv[1],
                         .database = argv[2],
                         .name = argv[3],
                         .ttl = std::chrono::milliseconds(std::stol(argv[4])),
                         .night = std::chrono::milliseconds(std::stol(argv[5])),
                         .start = redlatch::test::Clock::time_point(
                             redlatch::test::Clock::duration(std::stoll(argv[6]))),
                         .seed = static_cast<unsigned>(std::stoul(argv[7]))});
  } catch (const std::exception& error) {
    std::cerr << argv[3] << ": " << error.what() << '\n';
    return 1;
  }
}
