#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {

/// Servers that are independent of each other.
template <std::size_t count>
class QuorumOf : public testing::Test {
 protected:
  QuorumOf() {
    for (std::size_t i = 0; i < count; ++i) {
      servers.push_back(std::make_unique<RedisServer>());
      urls.push_back(servers.back()->url());
      raw.push_back(std::make_unique<RawClient>(servers.back()->socket()));
    }
  }

  /// Where those who hang do not matter, those who are only slow do not either.
  static QuorumOptions calm() { return {.client = less_patient(), .server_timeout = 10s}; }

  int held_on() {
    int held = 0;
    for (const auto& one : raw) held += one->exists("job") ? 1 : 0;
    return held;
  }
  bool is_free() {
    return eventually([&] { return held_on() == 0; });
  }

  std::vector<std::unique_ptr<RedisServer>> servers{};
  std::vector<std::string> urls{};
  std::vector<std::unique_ptr<RawClient>> raw{};
};

}  // namespace redlatch::test
