#include "run.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "board.hpp"
#include "ledger.hpp"

namespace demo {
namespace {

using namespace std::chrono_literals;

/// One worker: updates until it is told to stop.
class Worker {
 public:
  Worker(const Plan& plan, const Ledger& ledger, Board& board, redlatch::Client* client)
      : plan_(plan), ledger_(ledger), board_(board), client_(client) {}

  void work() const {
    while (!board_.stop) {
      if (client_ == nullptr) {
        update();
      } else {
        update_locked();
      }
    }
  }

 private:
  void update() const {
    ledger_.add_one();
    ++board_.updates;
  }

  void update_locked() const {
    const Board::Nanoseconds asked = now();
    redlatch::Lock lock(*client_, plan_.key, 100ms, {.ttl = plan_.ttl});
    if (!lock) return;
    const Board::Nanoseconds held = now();
    const Board::Nanoseconds released = board_.released_at;
    if (released > asked) board_.add_hand_over(held - released);
    if (board_.victim_killed_at != 0 && board_.recovered_at == 0) board_.recovered_at = held;
    update();
    board_.released_at = now();
  }

  const Plan& plan_;
  const Ledger& ledger_;
  Board& board_;
  redlatch::Client* client_;
};

/// Takes the lock in the middle of the run, does its part and is never heard of again.
void be_the_victim(const Plan& plan, const Ledger& ledger, Board& board) {
  std::this_thread::sleep_for(plan.length / 3);
  redlatch::Client client(plan.url);
  const redlatch::Lock lock(client, plan.key, {.ttl = plan.ttl});
  ledger.add_one();
  ++board.updates;
  board.victim_holds_since = now();
  for (;;) ::pause();
}

/// A child that does `work` and dies with its parent.
template <class Work>
pid_t start(Board& board, Work work) {
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child > 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  try {
    work();
  } catch (const std::exception& error) {
    board.failed = true;
    std::fprintf(stderr, "  a worker cannot go on: %s\n", error.what());
  }
  ::_exit(board.failed ? 1 : 0);
}

void run_workers(const Plan& plan, const Ledger& ledger, Board& board) {
  std::unique_ptr<redlatch::Client> client;
  if (!plan.url.empty()) client = std::make_unique<redlatch::Client>(plan.url);
  const Worker worker(plan, ledger, board, client.get());
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<std::size_t>(plan.threads));
  for (int i = 0; i < plan.threads; ++i) {
    threads.emplace_back([&] {
      try {
        worker.work();
      } catch (const std::exception& error) {
        board.failed = true;
        std::fprintf(stderr, "  a worker cannot go on: %s\n", error.what());
      }
    });
  }
}

void supervise(const Plan& plan, Board& board, pid_t victim) {
  const auto begin = std::chrono::steady_clock::now();
  auto report = begin + 1s;
  for (auto time = begin; time < begin + plan.length && !board.failed;
       time = std::chrono::steady_clock::now()) {
    std::this_thread::sleep_for(5ms);
    if (victim > 0 && board.victim_holds_since != 0 && board.victim_killed_at == 0) {
      std::printf("  killing process %d, which holds the lock\n", static_cast<int>(victim));
      ::kill(victim, SIGKILL);
      ::waitpid(victim, nullptr, 0);
      board.victim_killed_at = now();
    }
    if (time < report) continue;
    const bool waiting = board.victim_killed_at != 0 && board.recovered_at == 0;
    std::printf("  %2lld s: %llu updates%s\n", static_cast<long long>((report - begin) / 1s),
                static_cast<unsigned long long>(board.updates),
                waiting ? ", waiting for the dead holder's lease to expire" : "");
    std::fflush(stdout);
    report += 1s;
  }
}

}  // namespace

Result run(const Plan& plan, const std::string& path) {
  const Ledger ledger(path);
  const SharedBoard board;
  std::fflush(stdout);  // or every child prints what is still in the buffer
  std::vector<pid_t> children;
  children.reserve(static_cast<std::size_t>(plan.processes));
  const Board::Nanoseconds begin = now();
  for (int i = 0; i < plan.processes; ++i) {
    children.push_back(start(*board, [&] { run_workers(plan, ledger, *board); }));
  }
  pid_t victim = -1;
  if (!plan.url.empty()) victim = start(*board, [&] { be_the_victim(plan, ledger, *board); });

  supervise(plan, *board, victim);
  board->stop = true;
  for (const pid_t child : children) ::waitpid(child, nullptr, 0);
  if (victim > 0 && board->victim_killed_at == 0) {
    ::kill(victim, SIGKILL);
    ::waitpid(victim, nullptr, 0);
  }

  Result result{.updates = board->updates,
                .balance = ledger.read(),
                .seconds = static_cast<double>(now() - begin) / 1e9,
                .failed = board->failed,
                .hand_over_p50_ms = board->hand_over_ms(0.5),
                .hand_over_p99_ms = board->hand_over_ms(0.99)};
  if (board->recovered_at != 0) {
    result.recovery_ms = static_cast<double>(board->recovered_at - board->victim_killed_at) / 1e6;
  }
  return result;
}

}  // namespace demo
