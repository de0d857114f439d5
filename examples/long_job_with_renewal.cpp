// Work that is longer than the lease: the lease is renewed in the background while the lock is
// held, and the work looks whether it is still held before each step that cannot be undone.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

/// Not `lost_token()`: in a process that was stopped for longer than the ttl, and goes on, the loop
/// can be faster than the thread that requests the stop. `owns_lock()` compares clocks.
int migrate(const redlatch::Lock& lock) {
  int steps = 0;
  while (steps < 15 && lock.owns_lock()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // a step
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
  const int steps = migrate(lock);
  std::cout << steps << " steps, three times as long as the lease\n";
  return lock.unlock() == redlatch::Unlock::released && steps == 15 ? 0 : 1;
}
