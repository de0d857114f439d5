// A holder that is stopped at random points, for longer than its lease: whatever it was doing, it
// does not claim the lock while somebody else has it. REDLATCH_STOPS is the number of stops.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <new>
#include <random>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

using Clock = std::chrono::steady_clock;  // one for all processes of a machine

/// What the holder, a process of its own, and the stranger know of each other.
struct Shared {
  std::atomic<Clock::rep> stranger_has_it_since = 0;  // 0: it has not
  std::atomic<std::uint64_t> acquired = 0;
  std::atomic<std::uint64_t> claims = 0;
  std::atomic<std::uint64_t> wrong_claims = 0;
  std::atomic<bool> over = false;
};

class SharedMemory {
 public:
  SharedMemory()
      : memory_(::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                       -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    ::new (memory_) Shared();
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::munmap(memory_, sizeof(Shared)); }

  Shared* operator->() const { return std::launder(static_cast<Shared*>(memory_)); }
  Shared& operator*() const { return *operator->(); }

 private:
  void* memory_;
};

/// Asks `owns_lock()` all the time. A claim is wrong when the stranger had the key before the
/// question was put and has it still.
void hold(const std::string& url, Shared& shared) {
  Client client(url, {.connect_timeout = 20s, .command_timeout = 20s});
  Lock lock(client, "job", std::defer_lock, {.ttl = 50ms});
  while (!shared.over) {
    try {
      if (!lock.try_lock_for(100ms)) continue;
    } catch (const Error&) {
      continue;  // stopped for longer than the lease, between question and answer
    }
    ++shared.acquired;
    for (;;) {
      const Clock::rep now = Clock::now().time_since_epoch().count();
      if (!lock.owns_lock() || shared.over) break;
      ++shared.claims;
      const Clock::rep since = shared.stranger_has_it_since;
      if (since != 0 && now > since) ++shared.wrong_claims;
    }
    lock.unlock();
  }
}

TEST(StoppedHolder, ClaimsNothingThatSomebodyElseHas) {
  const char* wanted = std::getenv("REDLATCH_STOPS");
  const int stops = wanted != nullptr ? std::stoi(wanted) : 30;
  const RedisServer server;
  const SharedMemory shared;
  const pid_t holder = ::fork();
  ASSERT_GE(holder, 0);
  if (holder == 0) {
    hold(server.url(), *shared);
    ::_exit(0);
  }
  RawClient stranger(server.socket());
  std::mt19937 random(1);
  int taken = 0;
  for (int i = 0; i < stops; ++i) {
    const std::uint64_t before = shared->acquired;
    EXPECT_TRUE(eventually([&] { return shared->acquired > before || i > 0; }));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ::kill(holder, SIGSTOP);
    // Its lease ends meanwhile, or not.
    const auto end = Clock::now() + std::chrono::microseconds(random() % 100'000);
    bool has_it = false;
    while (!has_it && Clock::now() < end) {
      has_it = stranger.command({"SET", "job", "stranger", "NX", "PX", "60000"}).text == "OK";
    }
    if (has_it) shared->stranger_has_it_since = Clock::now().time_since_epoch().count();
    ::kill(holder, SIGCONT);
    if (!has_it) continue;
    ++taken;
    std::this_thread::sleep_for(5ms);  // for the holder to make a mistake
    shared->stranger_has_it_since = 0;
    stranger.command({"DEL", "job"});
    EXPECT_TRUE(eventually([&] { return shared->acquired > before; }));
  }
  shared->over = true;
  int status = 1;
  EXPECT_EQ(::waitpid(holder, &status, 0), holder);
  EXPECT_EQ(status, 0);
  std::cout << "stops: " << stops << ", lease taken meanwhile: " << taken
            << ", claims: " << shared->claims << ", wrong claims: " << shared->wrong_claims << '\n';
  EXPECT_GT(taken, stops / 10);
  EXPECT_GT(shared->claims, 0U);
  EXPECT_EQ(shared->wrong_claims, 0U);
}

}  // namespace
}  // namespace redlatch::test
