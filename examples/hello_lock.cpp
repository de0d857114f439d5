// The smallest program: one holder at a time, on however many hosts it runs.

#include <cstdlib>
#include <iostream>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  {
    redlatch::Lock lock(client, "hello", {.ttl = 30s});  // waits until it is ours
    std::cout << "only one of us is here, for the next " << lock.remaining().count() << " ms\n";
  }  // released here, also by an exception
}
