#include <gtest/gtest.h>

#include <redlatch/protocol/side_key.hpp>

namespace redlatch::protocol {
namespace side_key_test {

TEST(SideKey, BeginsWithTheKeyAndKeepsItsSlot) {
  EXPECT_EQ(side_key("lock:job", "fence"), "lock:job:redlatch:fence:{lock:job}");
}

TEST(SideKey, OfAKeyWithATagNeedsNoOther) {
  EXPECT_EQ(side_key("lock:{job}", "fence"), "lock:{job}:redlatch:fence");
  EXPECT_EQ(side_key("{a}{b}", "queue"), "{a}{b}:redlatch:queue");
}

TEST(SideKey, OfAKeyWithBracesThatAreNoTagHasOne) {
  EXPECT_EQ(side_key("job{", "fence"), "job{:redlatch:fence:{job{}");
  EXPECT_EQ(side_key("{}job", "fence"), "{}job:redlatch:fence:{{}job}");
}

TEST(SideKey, DiffersByPurpose) { EXPECT_NE(side_key("job", "fence"), side_key("job", "queue")); }

}  // namespace side_key_test
}  // namespace redlatch::protocol
