// Work that is longer than the lease: it is renewed in the background for as long as the lock is
// held, and the work is told in time when it is lost all the same.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stop_token>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

/// Looks at the token before each step that cannot be taken back.
int migrate(const std::stop_token& stop) {
  int steps = 0;
  while (steps < 15 && !stop.stop_requested()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ++steps;
  }
  return steps;
}

}  // namespace

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");

  redlatch::Lock lock(client, "migration", {.ttl = 500ms, .max_hold = 1h});
  const int steps = migrate(lock.lost_token());
  std::cout << steps << " steps, three times as long as the lease\n";
  return lock.unlock() == redlatch::Unlock::released ? 0 : 1;
}
