// Many may read at once, or one may write. A writer can go on as a reader without
// another writer in between.

#include <cstdlib>
#include <iostream>

#include <redlatch/redlatch.hpp>

int main() {
  using namespace std::chrono_literals;
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");

  {
    const redlatch::ReadLock one(client, "catalogue", {.ttl = 30s});
    const redlatch::ReadLock another(client, "catalogue");
    std::cout << "two read\n";
    // A wait for the write side would be for this very thread: the answer comes at once.
    const redlatch::WriteLock writer(client, "catalogue", 10s);
    if (writer) return 1;
  }

  redlatch::WriteLock writer(client, "catalogue");
  std::cout << "one writes\n";
  const redlatch::ReadLock reader = writer.downgrade();
  std::cout << "and reads on\n";

  const redlatch::ReadLock other(client, "catalogue", std::try_to_lock);
  return reader && other && !writer ? 0 : 1;
}
