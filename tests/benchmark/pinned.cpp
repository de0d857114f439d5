#include "pinned.hpp"

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace redlatch::benchmark {
namespace {

bool put(pid_t thread, const cpu_set_t& cores) noexcept {
  return ::sched_setaffinity(thread, sizeof cores, &cores) == 0;
}

cpu_set_t first_of(const cpu_set_t& cores) noexcept {
  int core = 0;
  while (core < CPU_SETSIZE - 1 && !CPU_ISSET(core, &cores)) ++core;
  cpu_set_t one{};
  CPU_SET(core, &one);
  return one;
}

// The server has threads of its own for what may block; an affinity is a thread's.
bool put_all(pid_t process, const cpu_set_t& cores) {
  bool good = true;
  const std::filesystem::path threads = "/proc/" + std::to_string(process) + "/task";
  for (const auto& thread : std::filesystem::directory_iterator(threads)) {
    good = put(std::stoi(thread.path().filename()), cores) && good;
  }
  return good;
}

}  // namespace

Pinned::Pinned(pid_t server) : server_(server) {
  ::sched_getaffinity(0, sizeof before_, &before_);
  const cpu_set_t one = first_of(before_);
  if (!put(0, one) || !put_all(server_, one)) {
    const int error = errno;
    put(0, before_);
    throw std::system_error(error, std::generic_category(), "sched_setaffinity");
  }
}

// The server was started by this program, so it was allowed the same cores before.
Pinned::~Pinned() {
  put(0, before_);
  try {
    put_all(server_, before_);
  } catch (const std::exception&) {
    // It is gone; whatever is measured next says so.
  }
}

}  // namespace redlatch::benchmark
