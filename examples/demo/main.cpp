// Processes with threads add to one number in one file: first without a lock, then with redlatch,
// while one of them is killed as it holds the lock. REDIS_URL names a server; without it one is
// started.

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include <redlatch/redlatch.hpp>

#include "redis_server.hpp"
#include "run.hpp"
#include "temporary_directory.hpp"

namespace {

using namespace std::chrono_literals;

std::string count(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, 1, ',');
  return digits;
}

std::string milliseconds(const std::optional<double>& time) {
  if (!time) return "-";
  std::string text(32, '\0');
  text.resize(static_cast<std::size_t>(std::snprintf(text.data(), text.size(), "%.1f ms", *time)));
  return text;
}

std::string rate(const demo::Result& result) {
  return count(static_cast<std::uint64_t>(static_cast<double>(result.updates) / result.seconds));
}

void row(const char* name, const std::string& without, const std::string& with) {
  std::printf("  %-38s %16s %16s\n", name, without.c_str(), with.c_str());
}

void print(const demo::Result& without, const demo::Result& with, const demo::Plan& plan) {
  std::printf("\n");
  row("", "without a lock", "with redlatch");
  row("updates made", count(without.updates), count(with.updates));
  row("updates in the ledger", count(without.balance), count(with.balance));
  row("updates lost", count(without.lost()), count(with.lost()));
  row("updates per second", rate(without), rate(with));
  row("hand-over to a waiter, p50", "-", milliseconds(with.hand_over_p50_ms));
  row("hand-over to a waiter, p99", "-", milliseconds(with.hand_over_p99_ms));
  row("next holder after a holder's SIGKILL", "-", milliseconds(with.recovery_ms));
  std::printf("\n  %d processes with %d threads; ttl %lld ms\n", plan.processes, plan.threads,
              static_cast<long long>(plan.ttl.count()));
}

/// The exit status: 0 only if the locked run lost nothing.
int demonstrate(const std::string& url) {
  redlatch::Client(url).ping();
  const redlatch::test::TemporaryDirectory directory;
  demo::Plan plan{.length = 2s};

  std::printf("%d processes with %d threads each add to one number in one file.\n", plan.processes,
              plan.threads);
  std::printf("\nWithout a lock:\n");
  const demo::Result without = demo::run(plan, directory.path() + "/unlocked");

  plan.url = url;
  plan.key = "redlatch:demo:" + std::to_string(::getpid());
  plan.length = 12s;
  std::printf("\nWith redlatch, one lock, key \"%s\":\n", plan.key.c_str());
  const demo::Result with = demo::run(plan, directory.path() + "/locked");

  print(without, with, plan);
  if (with.failed || with.lost() != 0 || with.updates == 0) {
    std::printf("\n  FAILED: the locked run is not right\n");
    return 1;
  }
  if (!with.recovery_ms) {
    std::printf("\n  FAILED: nobody took the lock after its holder was killed\n");
    return 1;
  }
  std::printf("\n  nothing was lost under the lock\n");
  return 0;
}

}  // namespace

int main() {
  try {
    if (const char* url = std::getenv("REDIS_URL"); url != nullptr) return demonstrate(url);
    const redlatch::test::RedisServer server;
    std::printf("A private server was started on %s; it ends with the demo.\n\n",
                server.url().c_str());
    return demonstrate(server.url());
  } catch (const redlatch::Error& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 69;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "demo: %s\n", error.what());
    return 1;
  }
}
