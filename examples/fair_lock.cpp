// Strictly first come, first served: no acquisition overtakes a waiter, in any thread or process.

#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  std::vector<int> served;

  redlatch::FairLock counter(client, "ticket-counter", {.ttl = 30s});
  std::vector<std::jthread> customers;
  for (int number = 1; number <= 3; ++number) {
    customers.emplace_back([&, number] {
      const redlatch::FairLock turn(client, "ticket-counter");
      served.push_back(number);
    });
    // Until they stand in the queue.
    while (client.metrics().contended < static_cast<std::size_t>(number)) {
      std::this_thread::yield();
    }
  }
  counter.unlock();
  customers.clear();  // joins them

  for (const int number : served) std::cout << "served customer " << number << '\n';
  return served == std::vector<int>{1, 2, 3} ? 0 : 1;
}
