#include "child.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "eventually.hpp"

namespace redlatch::test {

Child::Child(const std::function<void()>& work) {
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  try {
    work();
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

void Child::stop() const {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGSTOP);
  siginfo_t seen{};
  ::waitid(P_PID, static_cast<id_t>(pid_), &seen, WSTOPPED | WEXITED | WNOWAIT);
}

void Child::go_on() const {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

void Child::terminate() const {
  if (pid_ > 0) ::kill(pid_, SIGTERM);
}

void Child::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool Child::has_ended() const {
  siginfo_t seen{};
  return pid_ <= 0 ||
         (::waitid(P_PID, static_cast<id_t>(pid_), &seen, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          seen.si_pid == pid_);
}

bool Child::runs() const {
  if (has_ended()) return false;
  std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const std::size_t name_ends = stat.rfind(')');
  return name_ends != std::string::npos && !stat.substr(name_ends).starts_with(") T");
}

int Child::wait() {
  if (pid_ <= 0) return -1;
  return status_of(std::exchange(pid_, -1));
}

int in_child(const std::function<int()>& action) {
  const pid_t child = ::fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    int status = 101;
    try {
      status = action();
    } catch (...) {
      // Has its status.
    }
    ::_exit(status);
  }
  return status_of(child);
}

int status_of(pid_t child) {
  int status = 0;
  if (!eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; },
                  std::chrono::minutes(1))) {
    ::kill(child, SIGKILL);
    ::waitpid(child, &status, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace redlatch::test
