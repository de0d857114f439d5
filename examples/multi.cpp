// All the parts of an order at once, or none: a waiter for one part holds none of the others, so
// that two orders of the same parts in another order do not block each other.

#include <array>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  std::array<int, 3> stock{40, 40, 40};

  const auto order = [&](const std::vector<std::size_t>& parts) {
    std::vector<std::string> keys;
    keys.reserve(parts.size());
    for (const std::size_t part : parts) keys.push_back("part:" + std::to_string(part));
    const redlatch::MultiLock lock(client, keys);
    for (const std::size_t part : parts) --stock.at(part);
  };

  {
    std::jthread one([&] {
      for (int i = 0; i < 20; ++i) order({0, 1, 2});
    });
    std::jthread other([&] {
      for (int i = 0; i < 20; ++i) order({2, 1});
    });
  }
  std::cout << "left: " << stock[0] << ", " << stock[1] << " and " << stock[2] << '\n';
  return stock == std::array{20, 0, 0} ? 0 : 1;
}
