#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/protocol/side_key.hpp>

namespace redlatch::protocol {
namespace side_key_test {

/// The slot of a key, as the Redis Cluster specification has it, in "hash tags" and "appendix A".
int slot(std::string_view key) {
  const std::size_t opens = key.find('{');
  if (opens != std::string_view::npos) {
    const std::size_t closes = key.find('}', opens);
    if (closes != std::string_view::npos && closes != opens + 1) {
      key = key.substr(opens + 1, closes - opens - 1);
    }
  }
  unsigned crc = 0;
  for (const char c : key) {
    crc ^= static_cast<unsigned>(static_cast<unsigned char>(c)) << 8U;
    for (int i = 0; i < 8; ++i) crc = (crc << 1U) ^ ((crc & 0x8000U) != 0 ? 0x11021U : 0U);
  }
  return static_cast<int>(crc % 16384);
}

TEST(SideKey, IsCheckedByTheSlotsThatTheSpecificationGives) {
  EXPECT_EQ(slot("123456789"), 0x31C3);
  EXPECT_EQ(slot("foo{bar}baz"), slot("bar"));
  EXPECT_EQ(slot("foo"), 12182);  // as CLUSTER KEYSLOT answers
}

TEST(SideKey, BeginsWithTheKeyAndKeepsItsSlot) {
  EXPECT_EQ(side_key("lock:job", "fence"), "lock:job:redlatch:fence:{lock:job}");
}

TEST(SideKey, OfAKeyWithATagNeedsNoOther) {
  EXPECT_EQ(side_key("lock:{job}", "fence"), "lock:{job}:redlatch:fence");
  EXPECT_EQ(side_key("{a}{b}", "queue"), "{a}{b}:redlatch:queue");
}

TEST(SideKey, OfAKeyWithBracesThatAreNoTagEndsInDigitsThatKeepItsSlot) {
  for (const std::string key : {"a}b", "{}a", "}{", "job{", "}", "{", "{}", "{}{a}", "}}{{", "{a",
                                "a}", "}a{", "{}}", "a}:redlatch:queue:{"}) {
    const std::string name = side_key(key, "fence");
    EXPECT_EQ(name.find(key + ":redlatch:fence:"), 0U) << name;
    EXPECT_EQ(name.size(), key.size() + std::string_view(":redlatch:fence:").size() + 14) << name;
    EXPECT_EQ(name.find_first_not_of("01", name.size() - 14), std::string::npos) << name;
    EXPECT_EQ(slot(name), slot(key)) << name;
  }
}

/// Every key of up to six of these characters.
TEST(SideKey, SharesTheSlotOfAnyKey) {
  constexpr std::string_view letters = "{}a";
  std::vector<std::string> keys{""};
  for (std::size_t i = 0; keys[i].size() < 6; ++i) {
    for (const char letter : letters) keys.push_back(keys[i] + letter);
  }
  for (const std::string& key : keys) {
    if (key.empty()) continue;
    EXPECT_EQ(slot(side_key(key, "queue")), slot(key)) << key;
    EXPECT_EQ(slot(side_key(key, "fence")), slot(key)) << key;
    EXPECT_TRUE(side_key(key, "queue").starts_with(key));
  }
}

TEST(SideKey, DiffersByPurpose) { EXPECT_NE(side_key("job", "fence"), side_key("job", "queue")); }

}  // namespace side_key_test
}  // namespace redlatch::protocol
