// Processes increment a counter under one lock, while they are stopped for longer than the lease
// and the server loses what it knows. REDLATCH_STOPS is the number of stops in the midst of an
// increment, REDLATCH_SEED what the times and kinds of all faults are drawn from.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

#include "child.hpp"
#include "counter.hpp"
#include "environment.hpp"
#include "eventually.hpp"
#include "mishap.hpp"
#include "redis_server.hpp"
#include "shared_memory.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace guarded_counter_test {

using namespace std::chrono_literals;

using Clock = std::chrono::steady_clock;

constexpr std::size_t workers = 4;
constexpr auto ttl = 30ms;
const std::string key = "counter";

/// What the workers, each a process of its own, tell.
struct Shared {
  std::array<std::atomic<bool>, workers> inside{};  // from an acquisition to the end of its write
  std::atomic<std::uint64_t> acquired = 0;
  std::atomic<std::uint64_t> largest_token = 0;
  std::atomic<std::uint64_t> out_of_order = 0;
  std::atomic<std::int64_t> written = 0;
  std::atomic<std::int64_t> refused_reads = 0;
  std::atomic<std::int64_t> refused_writes = 0;
  std::atomic<bool> over = false;
};

enum class Fencing {
  ignored,  // tokens are drawn and not shown
  used
};

/// Takes the lock, reads, works, writes. It never asks whether the lock is still its own: a
/// process can be stopped right behind the answer.
class Worker {
 public:
  Worker(const std::string& url, const std::string& path, Fencing fencing, std::size_t number,
         unsigned seed, Shared& shared)
      : client_(url, {.connect_timeout = 20s, .command_timeout = 20s}),
        counter_(path),
        fencing_(fencing),
        number_(number),
        random_(seed),
        shared_(shared) {}

  void run() {
    while (!shared_.over) {
      const std::uint64_t granted_before = shared_.largest_token;
      const std::uint64_t token = acquire();
      if (token != 0) {
        note(token, granted_before);
        shared_.inside[number_] = true;
        increment(fencing_ == Fencing::used ? token : 0);
        shared_.inside[number_] = false;
        lock_.unlock();
      }
      pause();
    }
  }

 private:
  /// 0: not held, or not any more. Some wait; it is better known when the others, who ask once,
  /// were granted the lock.
  std::uint64_t acquire() {
    try {
      const bool held = number_ % 2 == 0 ? lock_.try_lock_for(100ms) : lock_.try_lock();
      return held ? lock_.fencing_token() : 0;
    } catch (const Error&) {
      return 0;  // the server is away, or the lease was over when the answer came
    }
  }
  void note(std::uint64_t token, std::uint64_t granted_before) {
    if (token <= granted_before) ++shared_.out_of_order;
    std::uint64_t largest = shared_.largest_token;
    while (largest < token && !shared_.largest_token.compare_exchange_weak(largest, token)) {
    }
    ++shared_.acquired;
  }
  void increment(std::uint64_t token) {
    const std::optional<std::int64_t> value = counter_.read(token);
    if (!value) {
      ++shared_.refused_reads;
      return;
    }
    pause();
    ++(counter_.write(*value + 1, token) ? shared_.written : shared_.refused_writes);
  }
  void pause() { std::this_thread::sleep_for(std::chrono::microseconds(random_() % 1000)); }

  Client client_;
  Lock lock_{client_, key, std::defer_lock, {.ttl = ttl, .fencing = true}};
  Counter counter_;
  Fencing fencing_;
  std::size_t number_;
  std::mt19937 random_;
  Shared& shared_;
};

class LockGuardedCounter : public testing::Test {
 protected:
  /// Until so many stops and each kind of mishap were seen to land, and `shown` holds. Tokens rise
  /// in the order of grants, used or not.
  void endure(Fencing fencing, const std::function<bool()>& shown) {
    for (std::size_t i = 0; i < workers; ++i) {
      children_.emplace_back([&, i] {
        Worker(server_.unix_url(), path_, fencing, i, seed_ + static_cast<unsigned>(i), *shared)
            .run();
      });
    }
    const auto end = Clock::now() + 180s + wanted_ * 1s;
    while (stops_ < wanted_ || landed_.size() < mishaps.size() || !shown()) {
      if (Clock::now() > end) {
        ADD_FAILURE() << "not everything has landed";
        break;
      }
      stop_one();
    }
    shared->over = true;
    for (Child& child : children_) EXPECT_EQ(child.wait(), 0);
    std::cout << (fencing == Fencing::used ? "with" : "without") << " fencing: ";
    print();
    EXPECT_EQ(shared->out_of_order, 0U);
  }

  /// So many at least while the workers are at it, exactly so many afterwards.
  std::int64_t lost_updates() {
    const std::int64_t written = shared->written;
    return written - Counter(path_).value();
  }

  SharedMemory<Shared> shared{};

 private:
  std::chrono::microseconds random_time(std::chrono::microseconds below) {
    return std::chrono::microseconds(random_() % static_cast<unsigned>(below.count()));
  }

  void stop_one() {
    std::this_thread::sleep_for(random_time(5ms));
    const std::size_t number = victim();
    children_[number].stop();
    const auto stopped = Clock::now();
    const bool inside = shared->inside[number];
    const std::uint64_t acquired = shared->acquired;
    std::this_thread::sleep_for(random_time(ttl));
    const Mishap mishap = mishaps[random_() % mishaps.size()];
    if (random_() % 2 == 0 && befall(server_, key, mishap)) ++landed_[mishap];
    std::this_thread::sleep_until(stopped + ttl + random_time(ttl));
    // The others may be waiting for the file.
    const bool taken = eventually([&] { return shared->acquired > acquired; }, 10 * ttl);
    children_[number].go_on();
    if (inside && taken) ++stops_;
  }

  /// Any worker, or one that is about to increment if there is one.
  std::size_t victim() {
    const std::size_t any_one = random_() % workers;
    if (random_() % 2 == 0) return any_one;
    const auto found = std::find(shared->inside.begin(), shared->inside.end(), true);
    return found == shared->inside.end() ? any_one
                                         : static_cast<std::size_t>(found - shared->inside.begin());
  }

  void print() {
    std::cout << "increments: " << shared->written << ", stops: " << stops_
              << ", restarts: " << landed_[Mishap::restart]
              << ", flushes: " << landed_[Mishap::flush]
              << ", counters deleted: " << landed_[Mishap::deletion]
              << ", expired: " << landed_[Mishap::expiry]
              << ", evicted: " << landed_[Mishap::eviction]
              << ", refused reads: " << shared->refused_reads
              << ", refused writes: " << shared->refused_writes
              << ", tokens out of order: " << shared->out_of_order
              << ", lost updates: " << lost_updates() << ", seed: " << seed_ << '\n';
  }

  const unsigned wanted_ = chosen("REDLATCH_STOPS", 30);
  const unsigned seed_ = chosen("REDLATCH_SEED", std::random_device()());
  const testing::ScopedTrace trace_{
      __FILE__, __LINE__,
      "REDLATCH_SEED=" + std::to_string(seed_) + " REDLATCH_STOPS=" + std::to_string(wanted_)};
  std::mt19937 random_{seed_};
  const TemporaryDirectory directory_{};
  const std::string path_ = directory_.path() + "/counter";
  // Without a port, which another process could take while the server restarts.
  RedisServer server_{{"--port", "0", "--maxmemory-policy", "volatile-ttl"}};
  unsigned stops_ = 0;
  std::map<Mishap, unsigned> landed_{};
  std::deque<Child> children_{};
};

TEST_F(LockGuardedCounter, LosesUpdatesWithoutFencing) {
  endure(Fencing::ignored, [&] { return lost_updates() > 0; });
  EXPECT_GT(lost_updates(), 0);
}

TEST_F(LockGuardedCounter, LosesNoneWithFencing) {
  endure(Fencing::used, [&] { return shared->refused_writes > 0; });
  EXPECT_EQ(lost_updates(), 0);
}

}  // namespace guarded_counter_test
}  // namespace redlatch::test
