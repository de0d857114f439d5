#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

/// Ends the fuzzer, which keeps the input, unless `good`.
inline void require(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "violated: %s\n", what.c_str());
  std::abort();
}
