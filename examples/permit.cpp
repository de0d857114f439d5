// A pool of three: at most three of all the workers, on whatever host, render at the same time.

#include <atomic>
#include <cstdlib>
#include <iostream>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  std::atomic<int> rendering = 0;
  std::atomic<bool> too_many = false;

  std::vector<std::jthread> workers;
  workers.reserve(8);
  for (int worker = 0; worker < 8; ++worker) {
    workers.emplace_back([&] {
      const redlatch::Permit permit(client, "render-farm", 3, {.ttl = 30s});
      if (++rendering > 3) too_many = true;
      std::this_thread::sleep_for(20ms);
      --rendering;
    });
  }
  workers.clear();  // joins them

  // All who use the key have to name the same limit.
  const redlatch::Permit permit(client, "render-farm", 3);
  try {
    const redlatch::Permit other(client, "render-farm", 4, std::try_to_lock);
  } catch (const redlatch::Error& error) {
    std::cout << error.what() << '\n';
    return error.code() == redlatch::Errc::invalid_argument && !too_many ? 0 : 1;
  }
  return 1;
}
