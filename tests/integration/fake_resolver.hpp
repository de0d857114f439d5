#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace redlatch::test {

/// Takes getaddrinfo(3)'s place in a test program for one host name at a time; any other is looked
/// up as ever.
class FakeResolver {
 public:
  static constexpr const char* name = "redis.test";

  /// The name has these addresses. Look-ups that hang come to an end with what they were asked for
  /// when the object goes.
  explicit FakeResolver(std::vector<std::string> addresses);
  FakeResolver(const FakeResolver&) = delete;
  FakeResolver& operator=(const FakeResolver&) = delete;
  ~FakeResolver();

  static void set_addresses(std::vector<std::string> addresses);
  /// Look-ups fail with that error of getaddrinfo(3); 0: not any more.
  static void fail_with(int error);
  /// Look-ups hang from now on, holding a mutex as glibc's do, until `answer`, for at most this
  /// time.
  static constexpr std::chrono::seconds longest{15};
  static void hang();
  static void answer();
  /// How many look-ups there were, and how many hang now.
  static int asked();
  static int hanging();
};

}  // namespace redlatch::test
