// A lock that outlives the loss of servers: a majority of independent ones holds it.
// REDIS_URLS: their URLs, with spaces in between.

#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <redlatch/redlatch.hpp>

namespace {

std::vector<std::string> servers() {
  std::vector<std::string> urls;
  const char* const given = std::getenv("REDIS_URLS");
  std::istringstream words(given != nullptr ? given : "");
  for (std::string url; words >> url;) urls.push_back(url);
  if (!urls.empty()) return urls;
  // One server is a majority of itself.
  const char* const one = std::getenv("REDIS_URL");
  return {one != nullptr ? one : "redis://127.0.0.1:6379"};
}

}  // namespace

int main() {
  using namespace std::chrono_literals;
  redlatch::Quorum nodes(servers());
  try {
    redlatch::Redlock lock(nodes, "report", 10s, {.ttl = 30s});
    if (!lock) {
      std::cout << "another holder is at it\n";
      return 0;
    }
    std::cout << "only one of us is here, for the next " << lock.remaining().count() << " ms\n";
    if (!lock.extend()) std::cout << "a majority has lost it: stop now\n";
    return lock.unlock() == redlatch::Unlock::released ? 0 : 1;
  } catch (const redlatch::Error& error) {
    std::cerr << error.what() << '\n';  // too few servers answer, and why
    return 1;
  }
}
