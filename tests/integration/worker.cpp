// A process that contends for a lock: worker URL KEY FILE locked|unlocked. For each line "add N" on
// its input it adds one to the number in FILE, N times, and then says "done". Without the lock it
// says "read" between reading and writing, and waits for a line. For "hold" it takes the lock with
// a lease of one second, says "held" and keeps it.

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

namespace {

using namespace std::chrono_literals;

long read_number(const std::string& file) {
  long number = 0;
  std::ifstream(file) >> number;
  return number;
}

void write_number(const std::string& file, long number) { std::ofstream(file) << number; }

void say(const char* line) { std::cout << line << std::endl; }

std::string hear() {
  std::string line;
  std::getline(std::cin, line);
  return line;
}

void add_locked(redlatch::Client& client, const std::string& key, const std::string& file) {
  const redlatch::Lock lock(client, key, {.ttl = 60s});
  const long number = read_number(file);
  std::this_thread::yield();  // another one's turn
  write_number(file, number + 1);
}

void add_unlocked(const std::string& file) {
  const long number = read_number(file);
  say("read");
  hear();
  write_number(file, number + 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 64;
  ::alarm(120);  // in case that its test is gone
  const std::string key = argv[2];
  const std::string file = argv[3];
  const bool locked = argv[4] == std::string("locked");
  redlatch::Client client(argv[1], {.connect_timeout = 20s, .command_timeout = 20s});
  std::optional<redlatch::Lock> held;
  for (std::string line = hear(); !line.empty(); line = hear()) {
    if (line == "hold") {
      held.emplace(client, key, redlatch::LockOptions{.ttl = 1s});
      say("held");
      continue;
    }
    for (long times = std::atol(line.substr(4).c_str()); times > 0; --times) {
      locked ? add_locked(client, key, file) : add_unlocked(file);
    }
    say("done");
  }
  return 0;
}
