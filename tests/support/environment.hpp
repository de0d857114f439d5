#pragma once

#include <cstdlib>
#include <string>

namespace redlatch::test {

/// The number in an environment variable, or another one when it is not set.
inline unsigned chosen(const char* variable, unsigned otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? static_cast<unsigned>(std::stoul(text)) : otherwise;
}

}  // namespace redlatch::test
