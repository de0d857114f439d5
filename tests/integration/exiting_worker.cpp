// A process that ends right after a guard does: exiting_worker URL KEY MANNER [CA]. It exits with
// 0, or with 1 when it did not get the lock.
//   main    the client is in main, which returns
//   static  the client is in static storage, and main returns
//   exit    the client is in main, and std::exit is called at the end of the guard's scope
//   both    client and guard are in static storage, and std::exit is called while it is held

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>

#include <redlatch/redlatch.hpp>

namespace {

using namespace std::chrono_literals;

const redlatch::LockOptions long_lease{.ttl = 60s};

std::optional<redlatch::Client> static_client;
std::optional<redlatch::Lock> static_lock;

void use(redlatch::Client& client, const std::string& key) {
  const redlatch::Lock lock(client, key, std::try_to_lock, long_lease);
  if (!lock) ::_exit(1);
}

/// Goes after the guard that was made after it.
struct ExitAtTheEnd {
  ExitAtTheEnd() = default;
  ExitAtTheEnd(const ExitAtTheEnd&) = delete;
  ExitAtTheEnd& operator=(const ExitAtTheEnd&) = delete;
  ~ExitAtTheEnd() { std::exit(0); }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) return 64;
  ::alarm(120);  // in case that its test is gone
  const std::string key = argv[2];
  const std::string manner = argv[3];
  redlatch::ClientOptions options{.connect_timeout = 20s, .command_timeout = 20s};
  if (argc == 5) options.tls.ca_file = argv[4];
  redlatch::Client client(argv[1], options);
  if (manner == "main") use(client, key);
  if (manner == "exit") {
    const ExitAtTheEnd exit;
    use(client, key);
  }
  static_client.emplace(std::move(client));
  if (manner == "static") use(*static_client, key);
  if (manner == "both") {
    static_lock.emplace(*static_client, key, std::try_to_lock, long_lease);
    std::exit(*static_lock ? 0 : 1);
  }
  return 0;
}
