#include "server_process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

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

  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void ServerProcess::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void ServerProcess::pause() const {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGSTOP);
  siginfo_t seen{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &seen, WSTOPPED | WEXITED | WNOWAIT);
}

void ServerProcess::resume() const {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

bool ServerProcess::has_ended() const {
  siginfo_t seen{};
  return pid_ <= 0 ||
         (::waitid(P_PID, static_cast<id_t>(pid_), &seen, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          seen.si_pid == pid_);
}

bool ServerProcess::runs() const {
  if (has_ended()) return false;
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const std::size_t name_ends = stat.rfind(')');
  return name_ends != std::string::npos && !stat.substr(name_ends).starts_with(") T");
}

}  // namespace redlatch::test
