// The names of the public enumerations' values.

#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include <redlatch/redlatch.hpp>

namespace redlatch::test {
namespace names_test {

/// The names of the values from `first` to `last`, each of which is written by `<<` as well.
template <class Enum>
std::set<std::string_view> names(Enum first, Enum last) {
  std::set<std::string_view> all;
  for (int i = static_cast<int>(first); i <= static_cast<int>(last); ++i) {
    const std::string_view name = to_string(static_cast<Enum>(i));
    std::ostringstream out;
    out << static_cast<Enum>(i);
    EXPECT_EQ(out.str(), name);
    all.insert(name);
  }
  return all;
}

TEST(EventKind, HasNames) {
  EXPECT_EQ(names(EventKind::acquired, EventKind::attempt_failed),
            (std::set<std::string_view>{"acquired", "contended", "renewed", "renewal_failed",
                                        "lost", "released", "release_unknown", "connected",
                                        "disconnected", "connect_failed", "attempt_failed"}));
}

TEST(Unlock, HasNames) {
  EXPECT_EQ(names(Unlock::released, Unlock::unknown),
            (std::set<std::string_view>{"released", "lost", "unknown"}));
}

TEST(Errc, HasNames) {
  EXPECT_EQ(
      names(Errc::unreachable, Errc::invalid_argument),
      (std::set<std::string_view>{"unreachable", "timed_out", "authentication_failed",
                                  "not_permitted", "not_writable", "wrong_type", "protocol_error",
                                  "no_quorum", "unsupported", "invalid_argument"}));
}

TEST(ErrorCode, HasTheNameOfItsErrc) {
  EXPECT_EQ(to_string(make_error_code(Errc::unreachable)), "unreachable");
  EXPECT_EQ(to_string(Error(Errc::no_quorum, "too few").code()), "no_quorum");
  EXPECT_EQ(to_string(make_error_code(std::errc::not_enough_memory)), "not_enough_memory");
  EXPECT_EQ(to_string(make_error_code(std::errc::resource_deadlock_would_occur)),
            "resource_deadlock_would_occur");
  EXPECT_EQ(to_string(std::error_code()), "");
  EXPECT_EQ(to_string(make_error_code(std::errc::timed_out)), "?") << "which is not ours";
}

TEST(EventKind, HasAQuestionMarkForValuesOfANewerVersion) {
  EXPECT_EQ(to_string(static_cast<EventKind>(99)), "?");
  EXPECT_EQ(to_string(static_cast<Unlock>(99)), "?");
  EXPECT_EQ(to_string(static_cast<Errc>(99)), "?");
}

}  // namespace names_test
}  // namespace redlatch::test
