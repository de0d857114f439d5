// The simulated machine room itself.

#include "world.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <thread>
#include <vector>

namespace redlatch::test {
namespace world_test {

using namespace std::chrono_literals;

std::ptrdiff_t real_threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

/// The machine's load decides nothing then, nor how the system chooses among threads.
TEST(World, HasAllThreadsOnOneRealThread) {
  const std::ptrdiff_t before = real_threads();
  std::ptrdiff_t during = 0;
  World world(1);
  world.run([&] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 5; ++i) threads.emplace_back([&] { world.sleep(1s); });
    world.sleep(100ms);
    during = real_threads();
  });
  EXPECT_EQ(during, before);
}

thread_local int its_own = 5;

/// While another thread does the same, with another number.
bool has_its_own(World& world, int number) {
  bool has = its_own == 5;
  its_own = errno = number;
  try {
    throw number;
  } catch (int) {
    world.sleep(1ms);
    has = has && its_own == number && errno == number;
    try {
      throw;
    } catch (int again) {
      has = has && again == number;
    }
  }
  return has;
}

TEST(World, GivesEachThreadStorageOfItsOwn) {
  std::vector<std::thread::id> ids;
  int right = 0;
  World world(1);
  world.run([&] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 5; ++i) {
      threads.emplace_back([&, i] {
        ids.push_back(std::this_thread::get_id());
        right += has_its_own(world, 100 + i) ? 1 : 0;
      });
    }
  });
  EXPECT_EQ(right, 5);
  ASSERT_EQ(ids.size(), 5U);
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_EQ(its_own, 5) << "that of the thread outside";
}

int ended = 0;
struct Ending {
  bool is_used = false;
  ~Ending() { ++ended; }
};
thread_local Ending ending;

TEST(World, EndsWhatAThreadHasOfItsOwnWithTheThread) {
  ended = 0;
  int ended_meanwhile = 0;
  World world(1);
  world.run([&] {
    std::thread([] { ending.is_used = true; }).join();
    ended_meanwhile = ended;
  });
  EXPECT_EQ(ended_meanwhile, 1);
}

enum class Fault { stopped_before, stopped_behind, killed };

/// Two processes wait for a mutex that they have in common, as all processes have global ones here.
/// Whether the other one gets it when the first is stopped or killed as the mutex is unlocked.
bool other_goes_on(std::uint64_t seed, Fault fault) {
  std::mutex mutex;
  bool has_had_it = false;
  bool goes_on = false;
  World world(seed);
  world.odds().switches = 0;
  world.run([&] {
    mutex.lock();
    const int first = world.start_process([&] { const std::lock_guard lock(mutex); });
    world.start_process([&] {
      const std::lock_guard lock(mutex);
      has_had_it = true;
    });
    world.sleep(10ms);
    if (fault == Fault::stopped_before) world.freeze(first);
    mutex.unlock();
    if (fault == Fault::stopped_behind) world.freeze(first);
    if (fault == Fault::killed) world.kill(first);
    world.sleep(1s);
    goes_on = has_had_it;
  });
  return goes_on;
}

TEST(World, WakesAnotherThreadThanOneThatDoesNotGoOn) {
  for (const Fault fault : {Fault::stopped_before, Fault::stopped_behind, Fault::killed}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      EXPECT_TRUE(other_goes_on(seed, fault)) << static_cast<int>(fault) << ", seed " << seed;
    }
  }
}

}  // namespace world_test
}  // namespace redlatch::test
