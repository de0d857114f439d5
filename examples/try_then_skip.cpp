// A job that every host starts by its own clock, and one of them does. `min_hold` is longer than
// the clocks differ by, so that a host whose clock is behind finds the lock held although the job
// is done.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <mutex>

#include <redlatch/redlatch.hpp>

namespace {

int runs = 0;

void nightly_job(redlatch::Client& client, const char* host) {
  using namespace std::chrono_literals;
  redlatch::Lock lock(client, "cron:nightly", std::try_to_lock, {.ttl = 1min, .min_hold = 1min});
  if (!lock) {
    std::cout << host << ": another host does it, or has done it\n";
    return;
  }
  std::cout << host << ": doing it\n";
  ++runs;
}

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  nightly_job(client, "a");
  nightly_job(client, "b");  // its clock is a little behind
  return runs == 1 ? 0 : 1;
}
