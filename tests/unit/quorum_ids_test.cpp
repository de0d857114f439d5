#include "client/quorum_ids.hpp"

#include <gtest/gtest.h>

#include <string>

#include <redlatch/error.hpp>

#include "base/io_error.hpp"

namespace redlatch::detail {
namespace quorum_ids_test {

class DistinctServersTest : public testing::Test {
 protected:
  bool admits(std::size_t url, const std::string& id) {
    try {
      voices.admit(url, id);
      return true;
    } catch (const IoError& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument);
      why = error.what();
      return false;
    }
  }
  bool are_distinct() {
    try {
      voices.require_distinct();
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::invalid_argument);
      why = error.what();
      return false;
    }
  }

  DistinctServers voices{{"redis://a", "redis://b", "redis://c"}};
  std::string why{};
};

TEST_F(DistinctServersTest, BelongToServersOfDifferentIds) {
  EXPECT_TRUE(admits(0, "x"));
  EXPECT_TRUE(admits(1, "y"));
  EXPECT_TRUE(admits(2, "z"));
  EXPECT_TRUE(admits(2, "z")) << "another connection";
  EXPECT_TRUE(are_distinct());
}

TEST_F(DistinctServersTest, NameTheOtherWayToOneServer) {
  EXPECT_TRUE(admits(0, "x"));
  EXPECT_FALSE(admits(2, "x"));
  EXPECT_NE(why.find("redis://a"), std::string::npos) << why;
  EXPECT_FALSE(are_distinct());
  EXPECT_NE(why.find("redis://a and redis://c lead to one server"), std::string::npos) << why;
}

TEST_F(DistinctServersTest, CountAgainOnceTheyBelongToDifferentServers) {
  EXPECT_TRUE(admits(0, "x"));
  EXPECT_TRUE(admits(1, "y"));
  EXPECT_FALSE(admits(0, "y")) << "the addresses are about to be swapped";
  EXPECT_FALSE(are_distinct());
  EXPECT_TRUE(admits(1, "x"));
  EXPECT_TRUE(admits(0, "y"));
  EXPECT_TRUE(are_distinct());
}

TEST_F(DistinctServersTest, AreNotForgottenWhereAnIdIsNotTold) {
  EXPECT_TRUE(admits(0, "x"));
  EXPECT_FALSE(admits(1, "x"));
  EXPECT_FALSE(admits(1, ""));
  EXPECT_FALSE(are_distinct());
  EXPECT_TRUE(admits(1, "y"));
  EXPECT_TRUE(are_distinct());
}

TEST_F(DistinctServersTest, OfServersThatDoNotTellTheirIdAreDistinct) {
  EXPECT_TRUE(admits(0, ""));
  EXPECT_TRUE(admits(1, ""));
  EXPECT_TRUE(are_distinct());
}

}  // namespace quorum_ids_test
}  // namespace redlatch::detail
