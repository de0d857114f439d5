// Waiting, but not for ever. Running out of time is an answer, not an exception.

#include <cstdlib>
#include <iostream>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");

  redlatch::Lock first(client, "report", {.ttl = 300ms, .auto_renew = false});
  redlatch::Lock hasty(client, "report", 50ms);  // durations behind the key are waiting time
  std::cout << (hasty ? "the hasty one has it\n" : "not within 50 ms\n");

  redlatch::Lock patient(client, "report", std::defer_lock);
  if (patient.try_lock_for(5s)) {
    std::cout << "the patient one has it: the first lease is over\n";
    std::cout << "the first one knows: " << (first.owns_lock() ? "no" : "yes") << '\n';
    return 0;
  }
  return 1;
}
