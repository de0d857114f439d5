#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include <redlatch/protocol/permit.hpp>

#include "fake_executor.hpp"

namespace redlatch::test {
namespace permit_test {

TEST(PermitProtocol, IsMarkedByItsLimit) {
  EXPECT_EQ(protocol::Permit("job", 3, false).owner_tag(), "3");
  EXPECT_EQ(protocol::Permit("job", 1'000'000, false).owner_tag(), "1000000");
}

TEST(PermitProtocol, RefusesALimitThatCannotWork) {
  for (const std::int64_t limit :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'000'001},
        std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    const Error error = error_of([&] { return protocol::Permit("job", limit, false); });
    EXPECT_EQ(error.code(), Errc::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("a limit of " + std::to_string(limit)),
              std::string::npos);
  }
}

TEST(PermitProtocol, HasNoNumber) {
  EXPECT_EQ(error_of([] { return protocol::Permit("job", 3, true); }).code(), Errc::unsupported);
}

TEST(PermitProtocol, RefusesAnEmptyKey) {
  const Fake executor = fake();
  EXPECT_EQ(error_of([&] {
              return TestLockOf<protocol::Permit>(executor, protocol::Permit("", 3, false), {})
                  .owns_lock();
            }).code(),
            Errc::invalid_argument);
}

TEST(PermitProtocol, OfAnotherLimitThanThatOfTheHoldersThrows) {
  const Fake executor = fake(says(refusal("LIMIT there are holders with a limit of 5")));
  TestLockOf<protocol::Permit> permit(executor, protocol::Permit("job", 3, false), {});
  const Error error = error_of([&] { return permit.try_lock(); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("a limit of 5"), std::string::npos);
}

TEST(PermitProtocol, OfAnotherLimitThrowsAlsoFromAWait) {
  const Fake executor =
      fake(says(integer(0)), says(refusal("LIMIT there are holders with a limit of 5")));
  executor->address = {.channel = "redlatch:me", .subscriber = 5};
  TestLockOf<protocol::Permit> permit(executor, protocol::Permit("job", 3, false), {});
  EXPECT_EQ(error_of([&] { return permit.try_lock_for(1s); }).code(), Errc::invalid_argument);
  EXPECT_EQ(executor->waiting, 0);
}

}  // namespace permit_test
}  // namespace redlatch::test
