// examples/service.cpp, as a process of its own.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "child.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace skeleton_test {

using namespace std::chrono_literals;

constexpr auto enough = 30s;  // for anything, on a busy machine

class ServiceSkeleton : public testing::Test {
 protected:
  /// One process of the service, and what it writes.
  class Process {
   public:
    Process(const RedisServer& server, const std::string& directory, const std::string& name)
        : output_(directory + "/" + name), log_(output_ + ".log"), child_([&] {
            ::setenv("REDIS_URL", server.unix_url().c_str(), 1);
            redirect(output_, STDOUT_FILENO);
            redirect(log_, STDERR_FILENO);
            const std::string database = directory + "/invoices.db";
            ::execl(REDLATCH_SERVICE_SKELETON, "service", database.c_str(), nullptr);
          }) {}

    Child& child() noexcept { return child_; }
    bool prints(const std::string& text) const { return is_in(output_, text); }
    bool logs(const std::string& text) const { return is_in(log_, text); }
    bool has_logged(const std::string& text) const { return has(log_, text); }
    std::vector<std::int64_t> invoices() const {
      std::vector<std::int64_t> numbers;
      std::ifstream file(output_);
      for (std::string line; std::getline(file, line);) {
        if (line.starts_with("invoice ")) numbers.push_back(std::stoll(line.substr(8)));
      }
      return numbers;
    }
    /// SIGTERM. Its exit status.
    int ends() {
      child_.terminate();
      return child_.wait();
    }

   private:
    static void redirect(const std::string& file, int to) {
      ::dup2(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600), to);
    }
    static bool has(const std::string& path, const std::string& text) {
      std::ifstream file(path);
      const std::string all((std::istreambuf_iterator<char>(file)), {});
      return all.find(text) != std::string::npos;
    }
    static bool is_in(const std::string& path, const std::string& text) {
      return eventually([&] { return has(path, text); }, enough);
    }

    std::string output_;
    std::string log_;
    Child child_;
  };

  Process start(const std::string& name) { return {server, directory.path(), name}; }

  RedisServer server{};
  const TemporaryDirectory directory{};
};

TEST_F(ServiceSkeleton, StartsBeforeItsServer) {
  server.kill();
  Process process = start("a");
  EXPECT_TRUE(process.logs("unix://")) << "it has tried";
  server.start();
  EXPECT_TRUE(process.prints("invoice 3"));
  EXPECT_TRUE(process.prints("housekeeping"));
  EXPECT_EQ(process.ends(), 0);
}

TEST_F(ServiceSkeleton, LogsWhyItWaitsAndThatItsConnectionsWereClosed) {
  server.kill();
  Process process = start("a");
  EXPECT_TRUE(process.logs("connect_failed " + server.unix_url() + ": redlatch: unix://"));
  EXPECT_FALSE(process.has_logged("connected "));
  server.start();
  EXPECT_TRUE(process.logs("connected " + server.unix_url() + ": \n"));
  ASSERT_TRUE(process.prints("invoice 5"));
  EXPECT_FALSE(process.has_logged("contended")) << "its threads take turns";
  RawClient raw(server.socket());
  const auto is_closed_while_idle = [&] {
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    return process.has_logged("disconnected " + server.unix_url() + ": \n");
  };
  EXPECT_TRUE(eventually(is_closed_while_idle, enough));
  EXPECT_EQ(process.ends(), 0);
}

TEST_F(ServiceSkeleton, EndsWhileItsThreadsWait) {
  RawClient raw(server.socket());
  raw.command({"SET", "invoices", "a stranger"});
  Process process = start("a");
  ASSERT_TRUE(eventually([&] { return raw.exists("invoices:redlatch:queue:{invoices}"); }, enough));
  EXPECT_EQ(process.ends(), 0);
  EXPECT_TRUE(process.prints("acquired ")) << "the metrics";
  EXPECT_TRUE(process.invoices().empty());
}

TEST_F(ServiceSkeleton, EndsWhileItsServerIsAway) {
  Process process = start("a");
  ASSERT_TRUE(process.prints("invoice 1"));
  server.kill();
  EXPECT_EQ(process.ends(), 0);
}

TEST_F(ServiceSkeleton, LogsTheLossOfALockAndGoesOn) {
  RawClient raw(server.socket());
  Process process = start("a");
  ASSERT_TRUE(process.prints("housekeeping"));
  EXPECT_TRUE(eventually([&] { return raw.command({"DEL", "leader"}).integer == 1; }, enough));
  EXPECT_TRUE(process.logs("lost leader"));
  EXPECT_TRUE(eventually([&] { return raw.exists("leader"); }, enough));
  EXPECT_EQ(process.ends(), 0);
}

TEST_F(ServiceSkeleton, HasAnotherLeaderWhenTheFirstDies) {
  Process first = start("a");
  ASSERT_TRUE(first.prints("housekeeping"));
  Process second = start("b");
  ASSERT_TRUE(second.prints("invoice"));
  first.child().kill();
  EXPECT_TRUE(second.prints("housekeeping"));
  EXPECT_EQ(second.ends(), 0);
}

TEST_F(ServiceSkeleton, IssuesEachNumberOnceAlsoWhenTheServerForgetsTheLocks) {
  Process first = start("a");
  Process second = start("b");
  ASSERT_TRUE(first.prints("invoice") && second.prints("invoice"));
  server.kill();
  server.start();
  const auto before = first.invoices().size() + second.invoices().size();
  EXPECT_TRUE(eventually(
      [&] { return first.invoices().size() + second.invoices().size() > before + 10; }, enough));
  EXPECT_EQ(first.ends() + second.ends(), 0);
  std::vector<std::int64_t> numbers = first.invoices();
  const std::vector<std::int64_t> others = second.invoices();
  numbers.insert(numbers.end(), others.begin(), others.end());
  std::ranges::sort(numbers);
  EXPECT_EQ(std::ranges::adjacent_find(numbers), numbers.end());
  EXPECT_EQ(numbers.front(), 1);
  EXPECT_EQ(numbers.back(), static_cast<std::int64_t>(numbers.size()));
}

}  // namespace skeleton_test
}  // namespace redlatch::test
