#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace redlatch::test {

/// How many there are in a directory. Of /proc/self/fd one is the look itself.
inline std::ptrdiff_t entries(const char* directory) {
  return std::distance(std::filesystem::directory_iterator(directory), {});
}

}  // namespace redlatch::test
