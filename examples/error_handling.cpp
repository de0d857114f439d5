// What can go wrong, and what to do about each.

#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>

#include <redlatch/redlatch.hpp>

namespace {

/// Whether the work was done.
bool guarded_work(redlatch::Client& client) {
  try {
    redlatch::Lock lock(client, "job:42", std::try_to_lock);
    if (!lock) return false;  // held elsewhere: an answer, not an error

    std::cout << "working\n";

    switch (lock.unlock()) {
      case redlatch::Unlock::released:
        return true;
      case redlatch::Unlock::lost:  // another holder may have worked here, too: check
        std::cerr << "the lease was over before the work was\n";
        return false;
      case redlatch::Unlock::unknown:  // done, and the key is free after the ttl at the latest
        return true;
    }
  } catch (const redlatch::Error& error) {
    std::cerr << error.what() << '\n';
    if (error.code() == redlatch::Errc::unreachable) std::cerr << "try again later\n";
    if (error.in_doubt()) std::cerr << "what it may have left is being removed\n";
  }
  return false;
}

}  // namespace

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  redlatch::Client nowhere("redis://127.0.0.1:1");
  const bool done = guarded_work(client);
  const bool done_nowhere = guarded_work(nowhere);
  return done && !done_nowhere ? 0 : 1;
}
