#include <gtest/gtest.h>

#include <redlatch/protocol/side_key.hpp>

namespace redlatch::protocol {
namespace side_key_test {

TEST(SideKey, BeginsWithTheKeyAndKeepsItsSlot) {
  EXPECT_EQ(side_key("lock:job", "fence"), "lock:job:fence:{lock:job}");
}

TEST(SideKey, OfAKeyWithATagNeedsNoOther) {
  EXPECT_EQ(side_key("lock:{job}", "fence"), "lock:{job}:fence");
  EXPECT_EQ(side_key("{a}{b}", "queue"), "{a}{b}:queue");
}

TEST(SideKey, OfAKeyWithBracesThatAreNoTagHasOne) {
  EXPECT_EQ(side_key("job{", "fence"), "job{:fence:{job{}");
  EXPECT_EQ(side_key("{}job", "fence"), "{}job:fence:{{}job}");
}

TEST(SideKey, DiffersByPurpose) { EXPECT_NE(side_key("job", "fence"), side_key("job", "queue")); }

}  // namespace side_key_test
}  // namespace redlatch::protocol
