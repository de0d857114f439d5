// Two locks at once without a deadlock, whatever the order in which others take them:
// std::scoped_lock lets go of the one when the other is taken.

#include <array>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

int main() {
  const char* url = std::getenv("REDIS_URL");
  redlatch::Client client(url != nullptr ? url : "redis://127.0.0.1:6379");
  std::array<int, 2> balance{100, 100};

  const auto transfer = [&](std::size_t from, std::size_t to, int amount) {
    redlatch::Lock source(client, "account:" + std::to_string(from), std::defer_lock);
    redlatch::Lock target(client, "account:" + std::to_string(to), std::defer_lock);
    const std::scoped_lock both(source, target);
    balance.at(from) -= amount;
    balance.at(to) += amount;
  };

  {
    std::jthread one([&] {
      for (int i = 0; i < 20; ++i) transfer(0, 1, 3);
    });
    std::jthread other([&] {
      for (int i = 0; i < 20; ++i) transfer(1, 0, 1);
    });
  }
  std::cout << "balances: " << balance[0] << " and " << balance[1] << '\n';
  return balance[0] == 60 && balance[1] == 140 ? 0 : 1;
}
