#include <gtest/gtest.h>

#include <exception>
#include <set>
#include <string>
#include <system_error>

#include <redlatch/error.hpp>

namespace redlatch {
namespace error_test {

constexpr Errc all[] = {Errc::unreachable,     Errc::timed_out,    Errc::authentication_failed,
                        Errc::not_permitted,   Errc::not_writable, Errc::wrong_type,
                        Errc::protocol_error,  Errc::no_quorum,    Errc::unsupported,
                        Errc::invalid_argument};

static_assert(static_cast<int>(Errc::unreachable) == 1);
static_assert(static_cast<int>(Errc::invalid_argument) == 10);
static_assert(std::is_error_code_enum_v<Errc>);
static_assert(std::is_base_of_v<std::system_error, Error>);

TEST(Error, ComparesEqualToItsCode) {
  const Error error(Errc::timed_out, "no answer");
  EXPECT_TRUE(error.code() == Errc::timed_out);
  EXPECT_FALSE(error.code() == Errc::unreachable);
}

TEST(Error, ComparesEqualToTheCodeOfAnotherCopyOfTheLibrary) {
  class Category : public std::error_category {
   public:
    explicit Category(const char* name) : name_(name) {}
    const char* name() const noexcept override { return name_; }
    std::string message(int) const override { return {}; }

   private:
    const char* name_;
  };
  const std::string name = "redlatch";  // at another address than the library's own
  const Category copy(name.c_str());
  const std::error_code theirs(static_cast<int>(Errc::timed_out), copy);
  EXPECT_TRUE(theirs == Errc::timed_out);
  EXPECT_TRUE(Errc::timed_out == theirs);
  EXPECT_FALSE(theirs != Errc::timed_out);
  EXPECT_TRUE(theirs != Errc::unreachable);
  EXPECT_TRUE(make_error_code(Errc::timed_out) == theirs.default_error_condition());
  EXPECT_FALSE(make_error_code(Errc::unreachable) == theirs.default_error_condition());
  EXPECT_TRUE(theirs == make_error_code(Errc::timed_out).default_error_condition());

  const Category stranger("stranger");
  EXPECT_FALSE(std::error_code(static_cast<int>(Errc::timed_out), stranger) == Errc::timed_out);
  EXPECT_FALSE(make_error_code(Errc::timed_out) ==
               std::error_condition(static_cast<int>(Errc::timed_out), stranger));
}

TEST(Error, IsASystemError) {
  try {
    throw Error(Errc::no_quorum, "too few");
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), Errc::no_quorum);
  }
}

TEST(Error, SaysWhoAndWhat) {
  const Error error(Errc::unreachable, "nobody is there", "redis://10.0.0.5:6379/0", true);
  EXPECT_EQ(error.server(), "redis://10.0.0.5:6379/0");
  EXPECT_TRUE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("redlatch: nobody is there"), std::string::npos);
}

TEST(Error, SaysOnceThatThereWasNoAnswer) {
  const Error error(Errc::timed_out, "no answer within command_timeout");
  EXPECT_STREQ(error.what(), "redlatch: no answer within command_timeout: timed out");
}

TEST(Error, IsAboutNoServerAndInNoDoubtByDefault) {
  const Error error(Errc::invalid_argument, "empty key");
  EXPECT_EQ(error.server(), "");
  EXPECT_FALSE(error.in_doubt());
}

TEST(Error, IsTransientWhenTheSameCallMaySucceedLater) {
  const std::set<Errc> transient{Errc::unreachable, Errc::timed_out, Errc::not_writable,
                                 Errc::no_quorum};
  for (const Errc code : all) EXPECT_EQ(Error(code, "why").transient(), transient.contains(code));
}

TEST(Error, KeepsEverythingWhenItIsCopied) {
  const Error error(Errc::timed_out, "no answer", "redis://10.0.0.5:6379/0", true);
  const Error copy = error;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_STREQ(copy.what(), error.what());
  EXPECT_EQ(copy.server(), error.server());
  EXPECT_TRUE(copy.in_doubt());
}

TEST(Error, HasAMessageOfItsOwnForEveryCode) {
  std::set<std::string> messages;
  for (const Errc code : all) messages.insert(make_error_code(code).message());
  EXPECT_EQ(messages.size(), std::size(all));
  EXPECT_FALSE(messages.contains(""));
  EXPECT_FALSE(messages.contains(error_category().message(0)));
}

TEST(Error, HasACategoryOfItsOwn) {
  EXPECT_STREQ(error_category().name(), "redlatch");
  EXPECT_EQ(&make_error_code(Errc::timed_out).category(), &error_category());
  EXPECT_FALSE(make_error_code(Errc::unreachable) == std::error_code(1, std::generic_category()));
}

TEST(Error, HasAMessageForCodesItDoesNotKnow) {
  EXPECT_EQ(error_category().message(4711), error_category().message(0));
}

}  // namespace error_test
}  // namespace redlatch
