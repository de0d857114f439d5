#include "net/detached_call.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <utility>

namespace redlatch::test::detached_call_test {
namespace {

using namespace std::chrono_literals;
using detail::BootClock;
using Call = detail::DetachedCall<int>;

TEST(DetachedCall, GivesEachWaiterTheResult) {
  const auto call = Call::start([] { return 7; });
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(call->wait(BootClock::now() + 20s, -1));
  EXPECT_EQ(call->result(), 7);
}

TEST(DetachedCall, ThrowsWhatItsFunctionHasThrown) {
  const auto call = Call::start([]() -> int { throw std::runtime_error("no"); });
  EXPECT_TRUE(call->wait(BootClock::now() + 20s, -1));
  EXPECT_THROW(static_cast<void>(call->result()), std::runtime_error);
}

/// The function may own what owns the call, which would then never end.
TEST(DetachedCall, GivesItsFunctionUpWhenThatHasReturned) {
  auto owned = std::make_shared<int>(7);
  const std::weak_ptr<int> watched = owned;
  const auto call = Call::start([owned = std::move(owned)] { return *owned; });
  EXPECT_TRUE(call->wait(BootClock::now() + 20s, -1));
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace redlatch::test::detached_call_test
