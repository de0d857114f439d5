// A primary that Sentinels look after: the lock outlives a failover if the new primary has it.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* variable = std::getenv("REDIS_URL");
  const std::string url = variable != nullptr ? variable : "redis-sentinel://localhost#mymaster";
  try {
    redlatch::Client client(url);
    // A replica must have the lock before it counts as held. Behind a failover there may be none
    // for some seconds: with `ride_out`, the wait goes on until there is.
    redlatch::Lock lock(client, "migration", 10s, {.ttl = 1min, .durability = {.replicas = 1}});
    if (!lock) {
      std::cout << "held elsewhere\n";
      return 0;
    }
    for (int step = 0; step < 20 && lock.owns_lock(); ++step) {
      std::this_thread::sleep_for(100ms);  // a step of the work
    }
    std::cout << (lock.owns_lock() ? "done\n" : "lost, stopped\n");
  } catch (const redlatch::Error& error) {
    std::cerr << error.what() << '\n';  // which Sentinel said what
    return 1;
  }
}
