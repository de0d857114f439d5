#include "machine.hpp"

#include <sys/utsname.h>

#include <array>
#include <ctime>
#include <fstream>
#include <thread>

namespace redlatch::benchmark {
namespace {

/// What follows `separator` on the first line of a file that begins with `label`.
std::string look_up(const char* path, const std::string& label, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(label)) continue;
    const std::size_t from = line.find_first_not_of(" \"", line.find(separator) + 1);
    if (from == std::string::npos) break;
    return line.substr(from, line.find_last_not_of(" \"") - from + 1);
  }
  return "?";
}

}  // namespace

std::string machine() {
  utsname system{};
  ::uname(&system);
  return look_up("/proc/cpuinfo", "model name", ':') + ", " +
         std::to_string(std::thread::hardware_concurrency()) + " virtual cores, " +
         look_up("/etc/os-release", "PRETTY_NAME=", '=') + ", " + system.sysname + " " +
         system.release;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm date{};
  ::gmtime_r(&now, &date);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%F", &date)};
}

}  // namespace redlatch::benchmark
