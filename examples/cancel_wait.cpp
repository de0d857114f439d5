// Waiting until a stop is requested, as by a service that shuts down.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stop_token>
#include <thread>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  const redlatch::Lock holder(client, "report");

  std::jthread worker([&](const std::stop_token& stop) {  // requested by its destructor, too
    const redlatch::Lock lock(client, "report", stop);
    if (!lock) std::cout << "shut down before it was our turn\n";
  });
  std::this_thread::sleep_for(100ms);
  worker.request_stop();
  return 0;
}
