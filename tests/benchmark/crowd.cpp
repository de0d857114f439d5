#include "crowd.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <system_error>

#include "eventually.hpp"

namespace redlatch::benchmark {
namespace {

[[noreturn]] void live_and_end(pid_t parent, int number, const std::function<void(int)>& live) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() == parent) live(number);
  ::_exit(0);
}

}  // namespace

Crowd::Crowd(int processes, const std::function<void(int)>& live) {
  const pid_t parent = ::getpid();
  for (int i = 0; i < processes; ++i) {
    const pid_t child = ::fork();
    if (child == 0) live_and_end(parent, i, live);
    if (child < 0) {
      const int error = errno;
      kill_all();
      throw std::system_error(error, std::generic_category(), "fork");
    }
    running_.push_back(child);
  }
}

Crowd::~Crowd() { kill_all(); }

void Crowd::kill_all() noexcept {
  for (const pid_t child : running_) ::kill(child, SIGKILL);
  for (const pid_t child : running_) ::waitpid(child, nullptr, 0);
  running_.clear();
}

std::chrono::nanoseconds Crowd::cpu_time() const {
  std::chrono::nanoseconds sum{0};
  for (const pid_t child : running_) sum += cpu_time_of(child);
  return sum;
}

bool Crowd::end_within(std::chrono::milliseconds bound) {
  bool good = true;
  const auto has_ended = [&](pid_t child) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) != child) return false;
    good = good && WIFEXITED(status);
    return true;
  };
  return test::eventually(
             [&] {
               std::erase_if(running_, has_ended);
               return running_.empty();
             },
             bound) &&
         good;
}

// getrusage() knows only of children that have ended, and
// /proc/PID/stat counts in hundredths of a second.
std::chrono::nanoseconds cpu_time_of(pid_t process) {
  clockid_t clock{};
  timespec used{};
  const int error = ::clock_getcpuclockid(process, &clock);
  if (error != 0) throw std::system_error(error, std::generic_category(), "clock_getcpuclockid");
  if (::clock_gettime(clock, &used) != 0) {
    throw std::system_error(errno, std::generic_category(), "clock_gettime");
  }
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

}  // namespace redlatch::benchmark
