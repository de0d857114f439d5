// The end of a scope waits for nothing: a lock that was lost meanwhile is told to `on_event`.

#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>
#include <thread>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  std::promise<void> told;
  redlatch::ClientOptions options;
  options.on_event = [&](const redlatch::Event& event) {  // must not throw
    if (event.kind != redlatch::EventKind::lost) return;
    std::cout << "lost: " << event.key << '\n';
    told.set_value();
  };
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379", options);
  {
    const redlatch::Lock lock(client, "too brief", {.ttl = 20ms, .auto_renew = false});
    std::this_thread::sleep_for(50ms);  // work that takes longer than its lease
  }
  return told.get_future().wait_for(10s) == std::future_status::ready ? 0 : 1;
}
