// A process that contends for a lock: worker URL KEY FILE KIND. A kind is locked (a Lock), fair,
// write, recursive (of an owner of its own), permit (of one) or unlocked. For each line "add N" on
// its input it adds one to the number in FILE, N times, and then says "done". Without the lock it
// says "read" between reading and writing, and waits for a line. For "cycle N" it takes the lock
// and gives it up, N times. For "hold" it takes the lock with a lease of one second, says "held"
// and keeps it.

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
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

std::shared_ptr<void> take(const std::string& kind, redlatch::Client& client,
                           const std::string& key, const redlatch::LockOptions& options) {
  using namespace redlatch;
  if (kind == "fair") return std::make_shared<FairLock>(client, key, options);
  if (kind == "write") return std::make_shared<WriteLock>(client, key, options);
  if (kind == "recursive") {
    return std::make_shared<RecursiveLock>(client, key, Owner{make_token()}, options);
  }
  if (kind == "permit") return std::make_shared<Permit>(client, key, 1, options);
  return std::make_shared<Lock>(client, key, options);
}

void add_locked(const std::string& kind, redlatch::Client& client, const std::string& key,
                const std::string& file) {
  const std::shared_ptr<void> lock = take(kind, client, key, {.ttl = 60s});
  const long number = read_number(file);
  std::this_thread::yield();  // somebody else's turn
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
  ::alarm(120);  // in case that nobody is left to end it
  const std::string key = argv[2];
  const std::string file = argv[3];
  const std::string kind = argv[4];
  redlatch::Client client(argv[1], {.connect_timeout = 20s, .command_timeout = 20s});
  std::shared_ptr<void> held;
  for (std::string line = hear(); !line.empty(); line = hear()) {
    if (line == "hold") {
      held = take(kind, client, key, {.ttl = 1s});
      say("held");
      continue;
    }
    if (line.starts_with("cycle ")) {
      for (long times = std::atol(line.substr(6).c_str()); times > 0; --times) {
        take(kind, client, key, {.ttl = 60s});
      }
      say("done");
      continue;
    }
    for (long times = std::atol(line.substr(4).c_str()); times > 0; --times) {
      kind == "unlocked" ? add_unlocked(file) : add_locked(kind, client, key, file);
    }
    say("done");
  }
  return 0;
}
