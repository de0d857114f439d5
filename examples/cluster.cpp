// A cluster: each customer's lock is at the node that has its key, and a transfer takes the locks
// of two accounts together, which share a hash tag.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* variable = std::getenv("REDIS_URL");
  const std::string url = variable != nullptr ? variable : "redis-cluster://localhost";
  try {
    redlatch::Client client(url);
    int bills = 0;
    for (int customer = 0; customer < 60; ++customer) {
      redlatch::Lock lock(client, "customer:" + std::to_string(customer), 10s);
      if (!lock) continue;                // another process writes this bill
      std::this_thread::sleep_for(10ms);  // writes it
      if (lock.owns_lock()) ++bills;
    }
    std::cout << bills << " bills\n";

    redlatch::MultiLock accounts(client, {"{accounts}:7", "{accounts}:12"}, 10s);
    std::cout << (accounts ? "transferred\n" : "held elsewhere\n");
    return bills == 60 && accounts ? 0 : 1;
  } catch (const redlatch::Error& error) {
    std::cerr << error.what() << '\n';  // which node said what
    return 1;
  }
}
