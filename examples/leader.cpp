// One process of several does the work, and another takes over when it dies. Each waits for the
// lock, and leads while it holds it.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

using namespace std::chrono_literals;

/// Work in steps, before each of which it looks whether it still leads.
void lead(const redlatch::Lock& leadership, int report) {
  const std::string name = std::to_string(::getpid()) + "\n";
  while (leadership.owns_lock()) {
    if (::write(report, name.data(), name.size()) < 0) return;
    std::this_thread::sleep_for(50ms);
  }
}

[[noreturn]] void run_candidate(const char* url, int report) {
  redlatch::Client client(url);
  for (;;) {
    redlatch::Lock leadership(client, "leader",
                              {.ttl = 500ms, .label = "candidate", .ride_out = true});
    lead(leadership, report);
  }
}

/// Who says that it leads.
pid_t next_leader(int reports) {
  std::string line;
  for (char c = 0; ::read(reports, &c, 1) == 1 && c != '\n';) line += c;
  return static_cast<pid_t>(std::stol(line));
}

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  if (url == nullptr) url = "redis://127.0.0.1:6379";
  std::array<int, 2> reports{};
  if (::pipe(reports.data()) != 0) return 1;
  std::array<pid_t, 3> candidates{};
  for (pid_t& candidate : candidates) {
    candidate = ::fork();
    if (candidate == 0) run_candidate(url, reports[1]);
  }

  const pid_t first = next_leader(reports[0]);
  std::cout << "process " << first << " leads, and dies\n";
  ::kill(first, SIGKILL);
  pid_t second = first;
  while (second == first) second = next_leader(reports[0]);
  std::cout << "process " << second << " leads now\n";

  for (const pid_t candidate : candidates) {
    ::kill(candidate, SIGKILL);
    ::waitpid(candidate, nullptr, 0);
  }
  return 0;
}
