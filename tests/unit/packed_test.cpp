#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include <redlatch/protocol/packed.hpp>

namespace redlatch::protocol {
namespace packed_test {

std::vector<std::string> unpacked(const std::string& list) {
  std::vector<std::string> texts;
  for (Unpacked rest(list); !rest.empty();) texts.emplace_back(rest.next());
  return texts;
}

TEST(Packed, HasTheLengthBeforeEachText) {
  EXPECT_EQ(packed(std::vector<std::string>{"job", "mail"}), "3:job4:mail");
}

TEST(Packed, IsUnpackedToTheSameTexts) {
  const std::vector<std::string> texts{"3:job", "",  std::string("\0\n:\xff", 4),
                                       "1",     ":", std::string(1000, '7')};
  EXPECT_EQ(unpacked(packed(texts)), texts);
  EXPECT_EQ(Unpacked(packed(texts)).size(), texts.size());
}

TEST(Packed, OfNothingIsEmpty) {
  EXPECT_EQ(packed(std::vector<std::string>{}), "");
  EXPECT_TRUE(Unpacked("").empty());
  EXPECT_EQ(Unpacked("").size(), 0U);
}

}  // namespace packed_test
}  // namespace redlatch::protocol
