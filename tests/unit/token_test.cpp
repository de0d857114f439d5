#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>
#include <unordered_set>

#include <redlatch/token.hpp>

namespace redlatch {
namespace token_test {

TEST(Token, HasTheLayoutOfAUuid) {
  for (int round = 0; round < 200; ++round) {
    const std::string token = make_token();
    ASSERT_EQ(token.size(), 36U);
    for (std::size_t i = 0; i < token.size(); ++i) {
      const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
      const std::string_view allowed = dash ? "-" : "0123456789abcdef";
      EXPECT_NE(allowed.find(token[i]), std::string_view::npos) << token;
    }
  }
}

TEST(Token, SaysThatItIsRandom) {
  for (int round = 0; round < 200; ++round) {
    const std::string token = make_token();
    EXPECT_EQ(token[14], '4') << token;
    EXPECT_NE(std::string_view("89ab").find(token[19]), std::string_view::npos) << token;
  }
}

TEST(Token, IsNeverTheSame) {
  std::unordered_set<std::string> tokens;
  for (int i = 0; i < 10'000; ++i) tokens.insert(make_token());
  EXPECT_EQ(tokens.size(), 10'000U);
}

TEST(Token, IsRandomInEveryPlace) {
  std::array<std::set<char>, 36> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string token = make_token();
    for (std::size_t place = 0; place < token.size(); ++place) seen[place].insert(token[place]);
  }
  for (std::size_t place = 0; place < seen.size(); ++place) {
    const bool fixed = place == 8 || place == 13 || place == 14 || place == 18 || place == 23;
    EXPECT_EQ(seen[place].size(), fixed ? 1U : place == 19 ? 4U : 16U) << place;
  }
}

}  // namespace token_test
}  // namespace redlatch
