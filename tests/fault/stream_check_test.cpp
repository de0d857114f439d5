// Lines made by hand: what changes another's key is found, and what cannot be known is not.

#include "stream_check.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace redlatch::test {
namespace stream_check_test {

class StreamCheckLines : public testing::Test {
 protected:
  /// At so many milliseconds.
  void client(int time, const std::string& words) { take(time, "0 127.0.0.1:5000", words); }
  void script(int time, const std::string& words) { take(time, "0 lua", words); }
  void call(int time, const std::string& token) {
    client(time, R"("EVALSHA" "a1b2" "1" "key" ")" + token + '"');
  }
  /// The key is known, and held by "mine" for a second.
  void hold(int time) {
    client(time, R"("DEL" "key")");
    client(time, R"("SET" "key" "mine" "NX" "PX" "1000")");
  }

  StreamCheck check_{};

 private:
  void take(int time, const std::string& who, const std::string& words) {
    std::string fraction = std::to_string(time % 1000 * 1000);
    fraction.insert(0, 6 - fraction.size(), '0');
    check_.take(std::to_string(1'700'000'000 + time / 1000) + '.' + fraction + " [" + who + "] " +
                words);
  }
};

TEST_F(StreamCheckLines, MayChangeTheirOwnKey) {
  hold(0);
  call(10, "mine");
  script(10, R"("GET" "key")");
  script(10, R"("PEXPIRE" "key" "3000")");
  call(2000, "mine");
  script(2000, R"("SET" "key" "next one" "PX" "1000")");
  call(2100, "next one");
  script(2100, R"("DEL" "key")");
  EXPECT_EQ(check_.checked(), 3U);
  EXPECT_EQ(check_.violations(), std::vector<std::string>());
}

TEST_F(StreamCheckLines, MustNotChangeAnothers) {
  for (const char* words : {R"("DEL" "key")", R"("pexpire" "key" "3000")", R"("UNLINK" "x" "key")",
                            R"("SET" "key" "other" "PX" "1000")"}) {
    check_ = {};
    hold(0);
    call(10, "other");
    script(10, words);
    ASSERT_EQ(check_.violations().size(), 1U) << words;
    EXPECT_NE(check_.violations()[0].find("which mine holds"), std::string::npos);
  }
}

TEST_F(StreamCheckLines, MustNotExtendAnothersAfterAGrant) {
  hold(0);
  call(10, "mine");
  script(10, R"("SET" "key" "next" "PX" "1000")");
  call(20, "mine");
  script(20, R"("PEXPIRE" "key" "1000")");
  EXPECT_EQ(check_.violations().size(), 1U);
}

TEST_F(StreamCheckLines, MayChangeWhatHasExpired) {
  hold(0);
  call(990, "other");
  script(990, R"("DEL" "key")");
  EXPECT_EQ(check_.checked(), 0U) << "it may have expired";
  hold(1000);
  client(2100, R"("SET" "key" "other" "NX" "PX" "1000")");
  call(2200, "other");
  script(2200, R"("DEL" "key")");
  EXPECT_EQ(check_.checked(), 1U);
  EXPECT_EQ(check_.violations(), std::vector<std::string>());
}

TEST_F(StreamCheckLines, LeaveAKeyUnknownThatMayHaveBeenTaken) {
  hold(0);
  client(1000, R"("SET" "key" "other" "NX" "PX" "1000")");
  call(1100, "third");
  script(1100, R"("DEL" "key")");
  EXPECT_EQ(check_.checked(), 0U);
}

TEST_F(StreamCheckLines, AreOfOneDatabase) {
  hold(0);
  check_.take(R"(1700000000.010000 [1 127.0.0.1:5000] "EVALSHA" "a1b2" "1" "key" "other")");
  check_.take(R"(1700000000.010000 [1 lua] "DEL" "key")");
  EXPECT_EQ(check_.violations(), std::vector<std::string>());
}

TEST_F(StreamCheckLines, MayChangeACounter) {
  client(0, R"("SET" "key:redlatch:fence:{key}" "fence 1" "PX" "1000")");
  call(10, "mine");
  script(10, R"("SET" "key:redlatch:fence:{key}" "fence 2" "PX" "1000")");
  EXPECT_EQ(check_.violations(), std::vector<std::string>());
}

TEST_F(StreamCheckLines, SayNothingBehindAGap) {
  hold(0);
  check_.forget();
  call(10, "other");
  script(10, R"("DEL" "key")");
  EXPECT_EQ(check_.checked(), 0U);
}

}  // namespace stream_check_test
}  // namespace redlatch::test
