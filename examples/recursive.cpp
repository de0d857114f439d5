// Functions that take the same lock and call each other. Each hold is an object of its own, and
// the lock is free when the last of them has gone.

#include <cstdlib>
#include <iostream>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

void write_page(redlatch::Client& client, int page) {
  const redlatch::RecursiveLock lock(client, "report");
  std::cout << "page " << page << ", hold " << lock.hold_count() << '\n';
}

void write_report(redlatch::Client& client) {
  const redlatch::RecursiveLock lock(client, "report");
  for (int page = 1; page <= 2; ++page) write_page(client, page);
}

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  write_report(client);

  // An owner with a name may be several threads, processes or hosts.
  const redlatch::Owner owner{"nightly-batch"};
  const redlatch::RecursiveLock here(client, "report", owner);
  bool is_held_there = false;
  std::jthread([&] {
    const redlatch::RecursiveLock there(client, "report", owner, std::try_to_lock);
    is_held_there = there.owns_lock();
  }).join();
  return is_held_there && here.hold_count() == 1 ? 0 : 1;
}
