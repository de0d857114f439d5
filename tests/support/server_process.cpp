#include "server_process.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace redlatch::test {
namespace {

std::string find_program() {
  if (const char* chosen = std::getenv("REDLATCH_SERVER"); chosen != nullptr) return chosen;
  const std::string path = std::getenv("PATH") != nullptr ? std::getenv("PATH") : "/usr/bin";
  for (const char* name : {"redis-server", "valkey-server"}) {
    for (std::size_t from = 0; from <= path.size();) {
      const std::size_t to = std::min(path.find(':', from), path.size());
      const std::string candidate = path.substr(from, to - from) + "/" + name;
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
      from = to + 1;
    }
  }
  throw std::runtime_error("no redis-server or valkey-server in PATH; ./dev install-deps gets one");
}

}  // namespace

void ServerProcess::start(std::vector<std::string> arguments) {
  kill();  // reaps one that has ended by itself
  arguments.insert(arguments.begin(), find_program());
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  process_.emplace([&] {
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    ::execv(argv[0], argv.data());
  });
}

}  // namespace redlatch::test
