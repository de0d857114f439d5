// Work that is longer than the lease, extended by hand between the steps: who does not come that
// far does not keep the lock.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

void one_step() { std::this_thread::sleep_for(std::chrono::milliseconds(100)); }

}  // namespace

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");

  redlatch::Lock lock(client, "migration", {.ttl = 1s, .auto_renew = false});
  for (int step = 1; step <= 15; ++step) {
    if (!lock.extend()) {  // back to a full ttl, unless another holder has it by now
      std::cerr << "lost the lock before step " << step << "; not touching anything more\n";
      return 1;
    }
    one_step();
  }
  std::cout << "15 steps, longer than the lease, with " << lock.remaining().count() << " ms left\n";
  return lock.unlock() == redlatch::Unlock::released ? 0 : 1;
}
