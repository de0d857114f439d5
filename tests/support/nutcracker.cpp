#include "nutcracker.hpp"

#include <unistd.h>

#include <cstdint>
#include <exception>
#include <fstream>
#include <stdexcept>

#include "eventually.hpp"
#include "raw_client.hpp"

namespace redlatch::test {

Nutcracker::Nutcracker(const RedisServer& server) {
  const std::string configuration = directory_.path() + "/nutcracker.yml";
  const std::string log = directory_.path() + "/log";
  std::ofstream(configuration) << "locks:\n  listen: " << socket()
                               << " 0600\n  redis: true\n  servers:\n    - " << server.socket()
                               << ":1 server\n";
  // Another program may take the port of its statistics before it does.
  for (int tries = 0; tries < 10; ++tries) {
    const std::string statistics = std::to_string(free_port());
    process_ = std::make_unique<Child>([&] {
      for (const char* program : {"nutcracker", "/usr/sbin/nutcracker"}) {
        ::execlp(program, program, "-c", configuration.c_str(), "-o", log.c_str(), "-a",
                 "127.0.0.1", "-s", statistics.c_str(), nullptr);
      }
    });
    bool ended = false;
    if (eventually([&] { return (ended = process_->has_ended()) || answers(); }) && !ended) return;
  }
  throw std::runtime_error("nutcracker does not start; ./dev install-deps gets it");
}

bool Nutcracker::answers() const {
  try {
    return RawClient(socket()).command({"PING"}).text == "PONG";
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace redlatch::test
