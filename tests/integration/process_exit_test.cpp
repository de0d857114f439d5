// Processes that end right after a guard does: many of them, in each manner.

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ostream>
#include <string>
#include <system_error>
#include <vector>

#include "certificates.hpp"
#include "fixture.hpp"
#include "sentinel_trio.hpp"

namespace redlatch::test {
namespace process_exit_test {

#ifdef REDLATCH_SANITIZED
constexpr int processes = 100;  // they take long to start
#else
constexpr int processes = 1000;
#endif

/// See exiting_worker.cpp.
struct Exit {
  const char* manner;
  bool waits;  // for the answer, so that the key is gone when the process is
};

void PrintTo(const Exit& exit, std::ostream* out) { *out << exit.manner; }

pid_t start_worker(std::vector<std::string> words) {
  words.insert(words.begin(), REDLATCH_EXITING_WORKER);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = -1;
  const int error = ::posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ);
  if (error != 0) throw std::system_error(error, std::generic_category(), words.front());
  return child;
}

int status_of(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class ClientProcessExit : public testing::TestWithParam<Exit> {
 protected:
  pid_t start(const std::string& key) const {
    return start_worker({server.unix_url(), key, GetParam().manner});
  }

  RedisServer server{};
  RawClient raw{server.socket()};
};

TEST_P(ClientProcessExit, RightAfterAGuardsEndLeavesNothingHeld) {
  constexpr int batch = 4;
  for (int i = 0; i < processes; i += batch) {
    std::vector<pid_t> children;
    for (int k = 0; k < batch; ++k) children.push_back(start("job:" + std::to_string(i + k)));
    for (const pid_t child : children) ASSERT_EQ(status_of(child), 0) << i;
    if (!GetParam().waits) continue;
    ASSERT_EQ(raw.command({"DBSIZE"}).integer, 0) << i;
  }
  EXPECT_TRUE(eventually([&] { return raw.command({"DBSIZE"}).integer == 0; }));
  EXPECT_EQ(raw.calls("set"), processes);
}

INSTANTIATE_TEST_SUITE_P(Manners, ClientProcessExit,
                         testing::Values(Exit{"main", true}, Exit{"static", true},
                                         Exit{"exit", false}, Exit{"both", true}),
                         [](const auto& exit) { return std::string(exit.param.manner); });

/// The answers of a majority of the Sentinels are enough, so the last one is mostly still asked
/// when the process ends.
TEST(ClientProcessExitOverSentinel, IsNoCrashInAHandshake) {
  SentinelTrio trio(TrioOptions{.tls = true});
  for (const char* manner : {"main", "static"}) {
    for (int i = 0; i < processes / 4; ++i) {
      const std::string key = std::string(manner) + std::to_string(i);
      ASSERT_EQ(status_of(start_worker({trio.url(), key, manner, own_certificates().issuer})), 0)
          << key;
    }
  }
}

}  // namespace process_exit_test
}  // namespace redlatch::test
