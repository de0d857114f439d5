#pragma once

#include <sys/types.h>

#include <cstddef>
#include <fstream>
#include <string>

namespace redlatch::test {

/// Whether a thread of this process sleeps.
inline bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string stat;
  std::getline(file, stat);
  const std::size_t name_ends = stat.rfind(')');
  return name_ends != std::string::npos && stat.substr(name_ends).starts_with(") S");
}

}  // namespace redlatch::test
