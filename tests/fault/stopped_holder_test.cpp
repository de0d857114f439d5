// A holder that is stopped at random points, for longer than its lease: whatever it was doing, it
// does not claim the lock while another holder has it. REDLATCH_STOPS is the number of stops. What
// was due meanwhile is done when it goes on.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <random>
#include <stop_token>
#include <string>
#include <thread>

#include <redlatch/redlatch.hpp>

#include "child.hpp"
#include "environment.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace stopped_holder_test {

using namespace std::chrono_literals;

using Clock = std::chrono::steady_clock;  // one for all processes of a machine

/// What the holder, a process of its own, and the stranger know of each other.
struct Shared {
  std::atomic<Clock::rep> stranger_has_it_since = 0;  // 0: it has not
  std::atomic<std::uint64_t> looks = 0;               // at the server, or at the clock
  std::atomic<std::uint64_t> acquired = 0;
  std::atomic<std::uint64_t> claims = 0;
  std::atomic<std::uint64_t> wrong_claims = 0;
  std::atomic<bool> over = false;
};

/// Asks `owns_lock()` all the time. A claim is wrong when the stranger had the key before the
/// question was put and has it still.
void hold(const std::string& url, Shared& shared) {
  Client client(url, {.connect_timeout = 20s, .command_timeout = 20s});
  Lock lock(client, "job", std::defer_lock, {.ttl = 50ms});
  while (!shared.over) {
    try {
      ++shared.looks;
      if (!lock.try_lock_for(100ms)) continue;
    } catch (const Error&) {
      continue;  // stopped for longer than the lease, between question and answer
    }
    ++shared.acquired;
    for (;;) {
      ++shared.looks;
      const Clock::rep now = Clock::now().time_since_epoch().count();
      if (!lock.owns_lock() || shared.over) break;
      ++shared.claims;
      const Clock::rep since = shared.stranger_has_it_since;
      if (since != 0 && now > since) ++shared.wrong_claims;
    }
    lock.unlock();
  }
}

TEST(LockOfAStoppedHolder, ClaimsNothingThatSomebodyElseHas) {
  const unsigned stops = chosen("REDLATCH_STOPS", 30);
  const RedisServer server;
  const SharedMemory<Shared> shared;
  Child holder([&] { hold(server.url(), *shared); });
  RawClient stranger(server.socket());
  std::mt19937 random(1);
  unsigned taken = 0;
  for (unsigned i = 0; i < stops; ++i) {
    const std::uint64_t before = shared->acquired;
    EXPECT_TRUE(eventually([&] { return shared->acquired > 0; }));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    holder.stop();
    // Its lease ends meanwhile, or not.
    const auto end = Clock::now() + std::chrono::microseconds(random() % 100'000);
    bool has_it = false;
    while (!has_it && Clock::now() < end) {
      has_it = stranger.command({"SET", "job", "stranger", "NX", "PX", "60000"}).text == "OK";
    }
    if (has_it) shared->stranger_has_it_since = Clock::now().time_since_epoch().count();
    holder.go_on();
    if (!has_it) continue;
    ++taken;
    const std::uint64_t looks = shared->looks;
    EXPECT_TRUE(eventually([&] { return shared->looks > looks + 1; })) << "and makes no mistake";
    shared->stranger_has_it_since = 0;
    stranger.command({"DEL", "job"});
    EXPECT_TRUE(eventually([&] { return shared->acquired > before; }));
  }
  shared->over = true;
  EXPECT_EQ(holder.wait(), 0);
  std::cout << "stops: " << stops << ", lease taken meanwhile: " << taken
            << ", claims: " << shared->claims << ", wrong claims: " << shared->wrong_claims << '\n';
  EXPECT_GT(taken, stops / 10);
  EXPECT_GT(shared->claims, 0U);
  EXPECT_EQ(shared->wrong_claims, 0U);
}

/// A holder of its own that is stopped as soon as it has the lock.
class LockThatIsDue {
 public:
  LockThatIsDue(const RedisServer& server, const LockOptions& options)
      : raw_(server.socket()), holder_([&] { hold(server.url(), options); }) {
    EXPECT_TRUE(eventually([&] { return state_->is_held.load(); }));
    holder_.stop();
  }

  /// It goes on so much later than it was stopped.
  void go_on_after(std::chrono::milliseconds time) {
    EXPECT_TRUE(passes(time));
    holder_.go_on();
  }
  bool is_lost() const { return state_->is_lost; }
  long long pttl() { return raw_.pttl("job"); }

 private:
  struct State {
    std::atomic<bool> is_held = false;
    std::atomic<bool> is_lost = false;
  };

  void hold(const std::string& url, const LockOptions& options) {
    Client client(url, {.connect_timeout = 20s, .command_timeout = 20s});
    const Lock lock(client, "job", options);
    const std::stop_callback on_loss(lock.lost_token(), [&] { state_->is_lost = true; });
    state_->is_held = true;
    eventually([] { return false; }, 1min);
  }

  const SharedMemory<State> state_{};
  RawClient raw_;
  Child holder_;
};

/// In one of some rounds, as this machine may be busy. It would be a lease later otherwise.
TEST(LockOfAStoppedHolder, IsAnnouncedAsLostWhenTheHolderGoesOn) {
  EXPECT_TRUE(eventually(
      [&] {
        const RedisServer server;
        LockThatIsDue lock(server, {.ttl = 4s, .auto_renew = false});
        lock.go_on_after(4s);
        return eventually([&] { return lock.is_lost(); }, 2s);
      },
      30s));
}

/// Its renewal is due behind a second, and it is lost behind three.
TEST(LockOfAStoppedHolder, IsRenewedWhenTheHolderGoesOn) {
  EXPECT_TRUE(eventually(
      [&] {
        const RedisServer server;
        LockThatIsDue lock(server, {.ttl = 3s});
        lock.go_on_after(2s);
        return eventually([&] { return lock.pttl() > 1500 || lock.is_lost(); }) && !lock.is_lost();
      },
      30s));
}

}  // namespace stopped_holder_test
}  // namespace redlatch::test
