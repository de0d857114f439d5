#include <gtest/gtest.h>

#include <cstddef>
#include <random>
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

/// The examples of the specification, and what CLUSTER KEYSLOT of Redis 7.0.15 answers.
TEST(Slot, IsThatOfTheSpecification) {
  EXPECT_EQ(slot_of("123456789"), 0x31C3U);
  EXPECT_EQ(slot_of("foo"), 12182U);
  EXPECT_EQ(slot_of("bar"), 5061U);
  EXPECT_EQ(slot_of(""), 0U);
  EXPECT_EQ(slot_of("{user1000}.following"), slot_of("{user1000}.followers"));
  EXPECT_EQ(slot_of("foo{}{bar}"), 8363U);
  EXPECT_EQ(slot_of("foo{{bar}}zap"), 4015U);
  EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
}

TEST(Slot, IsDecidedByTheFirstHashTagThatIsNotEmpty) {
  EXPECT_EQ(hashed_part("{user1000}.following"), "user1000");
  EXPECT_EQ(hashed_part("foo{}{bar}"), "foo{}{bar}");
  EXPECT_EQ(hashed_part("foo{{bar}}zap"), "{bar");
  EXPECT_EQ(hashed_part("foo{bar}{zap}"), "bar");
  for (const std::string_view whole :
       {"", "foo", "{", "}", "}{", "{}", "a{", "a}b", "}a{", "{}}"}) {
    EXPECT_EQ(hashed_part(whole), whole);
  }
}

/// By the bits of the specification, without the table.
TEST(Slot, OfRandomKeysIsThatOfTheirSideKeys) {
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string key(1 + random() % 24, '\0');
    for (char& letter : key) {
      letter = random() % 4 == 0 ? "{}"[random() % 2] : static_cast<char>(random() % 256);
    }
    ASSERT_EQ(static_cast<int>(slot_of(key)), slot(key)) << testing::PrintToString(key);
    for (const char* purpose : {"queue", "fence"}) {
      ASSERT_EQ(slot_of(side_key(key, purpose)), slot_of(key)) << testing::PrintToString(key);
    }
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
