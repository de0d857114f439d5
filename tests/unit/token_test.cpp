#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

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

/// What the function writes in a child that was made by `fork_it`.
template <class Fork>
std::string token_of_child(Fork fork_it) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = static_cast<pid_t>(fork_it());
  if (child == 0) {
    const std::string token = make_token();
    const bool written = ::write(ends[1], token.data(), token.size()) == 36;
    ::_exit(written ? 0 : 1);
  }
  std::string token(36, ' ');
  EXPECT_EQ(::read(ends[0], token.data(), token.size()), 36);
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  return token;
}

/// Also when libc knows nothing of the fork, so that no handler of pthread_atfork runs.
TEST(Token, IsAnotherInEachChild) {
  std::unordered_set<std::string> tokens;
  std::size_t made = 0;
  for (int i = 0; i < 40; ++i) {
    tokens.insert(make_token());
    tokens.insert(token_of_child([] { return ::fork(); }));
    tokens.insert(token_of_child([] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }));
    made += 3;
  }
  EXPECT_EQ(tokens.size(), made);
}

TEST(Token, IsAnotherInEachThread) {
  std::mutex mutex;
  std::unordered_set<std::string> tokens;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 1000; ++round) {
          const std::string token = make_token();
          const std::lock_guard guard(mutex);
          tokens.insert(token);
        }
      });
    }
  }
  EXPECT_EQ(tokens.size(), 8'000U);
}

}  // namespace token_test
}  // namespace redlatch
