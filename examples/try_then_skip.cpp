// A cron job on every host, done by one of them: whoever comes second skips this turn.

#include <cstdlib>
#include <iostream>
#include <mutex>

#include <redlatch/redlatch.hpp>

namespace {

void nightly_job(redlatch::Client& client, const char* host) {
  using namespace std::chrono_literals;
  redlatch::Lock lock(client, "cron:nightly", std::try_to_lock, {.ttl = 1min});
  if (!lock) {
    std::cout << host << ": somebody else is doing it\n";
    return;
  }
  std::cout << host << ": doing it\n";
  if (host[0] == 'a') nightly_job(client, "b");  // another host's clock strikes meanwhile
}

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  nightly_job(client, "a");
}
