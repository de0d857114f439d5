#include <gtest/gtest.h>

#include <string>
#include <thread>

#include <redlatch/protocol/recursive.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace recursive_test {

/// As the class has it.
class TestRecursive : public TestLockOf<protocol::Recursive> {
 public:
  explicit TestRecursive(const Fake& executor)
      : TestLockOf(executor, protocol::Recursive("job", Owner{"x"}, false), {}) {}
  std::int64_t hold_count() const { return core().count(); }
};

TEST(RecursiveProtocol, IsMarkedByItsThread) {
  const protocol::Recursive recursive("job");
  EXPECT_EQ(recursive.owner_tag(), "=t:" + detail::thread_name());
  std::string other;
  std::thread([&] { other = recursive.owner_tag(); }).join();
  EXPECT_NE(other, recursive.owner_tag())
      << "of the thread that acquires, not of the one that made it";
}

TEST(RecursiveProtocol, IsMarkedByAnOwnerWhoIsNamed) {
  EXPECT_EQ(protocol::Recursive("job", Owner{"worker-7"}, false).owner_tag(), "=o:worker-7");
}

TEST(RecursiveProtocol, RefusesANameThatCannotWork) {
  for (const std::string& name :
       {std::string(), std::string("two words"), std::string("tab\t"), std::string("line\n"),
        std::string("nul\0", 4), std::string("del\x7f"), std::string(257, 'x')}) {
    EXPECT_EQ(error_of([&] { return protocol::Recursive("job", Owner{name}, false); }).code(),
              Errc::invalid_argument)
        << name;
  }
}

TEST(RecursiveProtocol, TakesAnyOtherName) {
  for (const std::string& name : {std::string("3"), std::string("r"), std::string(256, 'x'),
                                  std::string("caf\xc3\xa9"), std::string("=o:%s")}) {
    EXPECT_EQ(protocol::Recursive("job", Owner{name}, false).owner_tag(), "=o:" + name);
  }
}

TEST(RecursiveProtocol, CountsByTheMarkWhenNothingIsHeld) {
  const Fake executor = fake(says(integer(0)));
  EXPECT_EQ(TestRecursive(executor).hold_count(), 0);
  EXPECT_EQ(executor->said().front(), "COUNT job =o:x");
}

TEST(RecursiveProtocol, CountsByTheValueThatIsHeld) {
  const Fake executor = fake(says(integer(1)), says(integer(2)), says(integer(1)));
  TestRecursive lock(executor);
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.hold_count(), 2);
  EXPECT_EQ(executor->said().back(), "COUNT job =o:x " + lock.token());
  lock.unlock();
}

TEST(RecursiveProtocol, ThrowsWhenNobodySaysHowMany) {
  const Fake executor = fake(away(), says(refusal("WRONGTYPE a list")));
  const TestRecursive lock(executor);
  EXPECT_EQ(error_of([&] { return lock.hold_count(); }).code(), Errc::unreachable);
  EXPECT_EQ(error_of([&] { return lock.hold_count(); }).code(), Errc::wrong_type);
}

TEST(RecursiveProtocol, DrawsANumberForEachHold) {
  const Fake executor = fake(says(integer(7)), says(integer(1)));
  TestLockOf<protocol::Recursive> lock(executor, protocol::Recursive("job", true),
                                       {.fencing = true});
  ASSERT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.fencing_token(), 7U);
}

}  // namespace recursive_test
}  // namespace redlatch::test
