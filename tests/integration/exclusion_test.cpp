#include <array>
#include <atomic>
#include <barrier>
#include <fstream>
#include <functional>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "process.hpp"

namespace redlatch::test {
namespace exclusion_test {

/// A number that many change, each by reading it and writing it back: a lock that does not exclude
/// the others loses their changes.
class LockExclusion : public ServerTest {
 protected:
  static constexpr int threads = 8;
  static constexpr int rounds = 25;

  void in_threads(const std::function<void(int)>& work) const {
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) running.emplace_back(work, i);
    for (std::thread& thread : running) thread.join();
  }

  void add_one(const std::function<void()>& between) {
    const int seen = number;  // two steps: the type is atomic only to have no undefined behaviour
    between();
    number = seen + 1;
  }

  std::atomic<int> number = 0;
};

TEST_F(LockExclusion, BetweenThreadsOfOneClientLosesNoUpdate) {
  in_threads([&](int) {
    for (int i = 0; i < rounds; ++i) {
      const Lock lock(client, "job", long_lease);
      add_one([] { std::this_thread::yield(); });
    }
  });
  EXPECT_EQ(number, threads * rounds);
}

TEST_F(LockExclusion, BetweenThreadsWithAClientEachLosesNoUpdate) {
  in_threads([&](int) {
    Client own(server.url(), patient());
    for (int i = 0; i < rounds; ++i) {
      const Lock lock(own, "job", long_lease);
      add_one([] { std::this_thread::yield(); });
    }
  });
  EXPECT_EQ(number, threads * rounds);
}

TEST_F(LockExclusion, OverTcpAndOverAUnixSocketIsTheSame) {
  Client other(server.unix_url(), patient());
  in_threads([&](int thread) {
    for (int i = 0; i < rounds; ++i) {
      const Lock lock(thread % 2 == 0 ? client : other, "job", long_lease);
      add_one([] { std::this_thread::yield(); });
    }
  });
  EXPECT_EQ(number, threads * rounds);
}

TEST_F(LockExclusion, IsWhatKeepsTheUpdatesWhichAreLostWithoutIt) {
  std::barrier all_have_read(threads);
  in_threads([&](int) {
    for (int i = 0; i < rounds; ++i) add_one([&] { all_have_read.arrive_and_wait(); });
  });
  EXPECT_LT(number, threads * rounds);
}

TEST_F(LockExclusion, OfDifferentKeysIsNone) {
  std::barrier all_have_read(threads);
  in_threads([&](int thread) {
    const Lock lock(client, "job:" + std::to_string(thread), long_lease);
    add_one([&] { all_have_read.arrive_and_wait(); });
  });
  EXPECT_LT(number, threads);
}

/// The same between processes, with a number in a file.
class LockExclusionOfProcesses : public ServerTest {
 protected:
  static constexpr int rounds = 25;

  LockExclusionOfProcesses() { std::ofstream(file) << 0; }

  void start(std::size_t count, const std::string& manner) {
    while (workers.size() < count) {
      workers.emplace_back(
          std::vector<std::string>{REDLATCH_WORKER, server.url(), "job", file, manner});
    }
  }
  long number() const {
    long value = -1;
    std::ifstream(file) >> value;
    return value;
  }

  const std::string file = server.directory() + "/number";
  std::list<Process> workers{};
};

TEST_F(LockExclusionOfProcesses, LosesNoUpdate) {
  start(4, "locked");
  for (Process& worker : workers) worker.write_line("add " + std::to_string(rounds));
  for (Process& worker : workers) EXPECT_EQ(worker.read_line(), "done");
  for (Process& worker : workers) EXPECT_EQ(worker.wait(), 0);
  EXPECT_EQ(number(), 4 * rounds);
}

TEST_F(LockExclusionOfProcesses, IsWhatKeepsTheUpdatesWhichAreLostWithoutIt) {
  start(2, "unlocked");
  for (Process& worker : workers) worker.write_line("add 1");
  for (Process& worker : workers) EXPECT_EQ(worker.read_line(), "read");
  for (Process& worker : workers) EXPECT_EQ(worker.ask("go on"), "done");
  EXPECT_EQ(number(), 1);
}

TEST_F(LockExclusionOfProcesses, IncludesThisProcess) {
  start(1, "locked");
  Lock lock(client, "job", long_lease);
  workers.front().write_line("add 1");
  EXPECT_TRUE(somebody_waits()) << "the worker waits";
  EXPECT_EQ(number(), 0);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(workers.front().read_line(), "done");
  EXPECT_EQ(number(), 1);
}

TEST_F(LockExclusionOfProcesses, OutlivesADeadHolderForItsLeaseOnly) {
  start(1, "locked");
  EXPECT_EQ(workers.front().ask("hold"), "held");
  const std::string token = raw.get("job");
  workers.front().kill();
  EXPECT_EQ(raw.get("job"), token);
  Lock lock(client, "job", std::defer_lock);
  EXPECT_FALSE(lock.try_lock());
  EXPECT_TRUE(lock.try_lock_for(30s));
}

}  // namespace exclusion_test
}  // namespace redlatch::test
