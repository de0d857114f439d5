// Threads of one client that want the same lock: first come, first served, and mostly without a
// word to the server.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {
namespace hand_over_test {

class LockHandOver : public ServerTest {
 protected:
  /// A thread that waits for the lock, holds it until it is told to go on, and is in line when this
  /// returns.
  class Waiter {
   public:
    Waiter(Client& client, const LockOptions& options)
        : lock(client, "job", std::defer_lock, options), in_line_(client.metrics().waiting + 1) {
      thread_ = std::jthread([this](const std::stop_token& stop) {
        held = lock.lock(stop);
        eventually([&] { return goes_on.load(); }, 60s);
        if (held) result = lock.unlock();
      });
      EXPECT_TRUE(eventually([&] { return client.metrics().waiting >= in_line_; }));
    }
    bool has_it() const {
      return eventually([&] { return held.load(); });
    }
    void cancel() { thread_.request_stop(); }
    /// Gives the lock up.
    Unlock ends() {
      goes_on = true;
      thread_.join();
      return result;
    }

    Lock lock;
    std::atomic<bool> held = false;
    std::atomic<bool> goes_on = false;
    Unlock result = Unlock::unknown;

   private:
    std::uint64_t in_line_;
    std::jthread thread_{};
  };

  Lock holder{client, "job", long_lease};
};

TEST_F(LockHandOver, PassesTheLeaseOnWithoutTouchingTheKey) {
  const std::string token = holder.token();
  Waiter next(client, long_lease);
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_EQ(holder.unlock(), Unlock::released);
  ASSERT_TRUE(next.has_it());
  EXPECT_FALSE(holder.owns_lock());
  EXPECT_EQ(next.lock.token(), token);
  EXPECT_EQ(raw.get("job"), token);
  EXPECT_EQ(raw.calls("set") + raw.calls("del"), 0);
  EXPECT_EQ(next.ends(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockHandOver, GoesToWhoCameFirst) {
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int i = 0; i < 10; ++i) waiters.push_back(std::make_unique<Waiter>(client, long_lease));
  EXPECT_EQ(holder.unlock(), Unlock::released);
  for (const auto& waiter : waiters) {
    ASSERT_TRUE(waiter->has_it());
    const auto others = std::count_if(waiters.begin(), waiters.end(),
                                      [](const auto& one) { return one->lock.owns_lock(); });
    EXPECT_EQ(others, 1);
    EXPECT_EQ(waiter->ends(), Unlock::released);
  }
}

/// How often a thread of this process has gone to sleep.
std::int64_t sleeps_of(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/status");
  const std::string label = "voluntary_ctxt_switches:";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(label)) return std::stoll(line.substr(label.size()));
  }
  return 0;
}

/// Many wait for one key for long: only the first of them has anything to do.
TEST_F(LockHandOver, CostsThoseFurtherBackNothing) {
  constexpr std::size_t waiters = 100;
  std::mutex mutex;
  std::vector<pid_t> ids;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < waiters; ++i) {
      threads.emplace_back([&] {
        {
          const std::lock_guard guard(mutex);
          ids.push_back(::gettid());
        }
        const Lock lock(client, "job", {.ttl = 1s});
      });
    }
    EXPECT_TRUE(eventually([&] { return client.metrics().waiting == waiters; }));
    const auto sleeps = [&] {
      std::int64_t all = 0;
      for (const pid_t id : ids) all += sleeps_of(id);
      return all;
    };
    const auto refreshed = [&](std::int64_t times) {
      const std::int64_t before = raw.calls("lset");
      return eventually([&] { return raw.calls("lset") >= before + times; });
    };
    EXPECT_TRUE(refreshed(2)) << "all of them are asleep by then";
    const std::int64_t before = sleeps();
    EXPECT_TRUE(refreshed(3)) << "the entry of the first: a second";
    EXPECT_LT(sleeps() - before, 100);
    holder.unlock();
  }
  EXPECT_EQ(client.metrics().acquired, 1 + waiters);
}

/// No waiter in front tells it to ask, and no message: the lease was taken from its holder.
TEST_F(LockHandOver, LeavesAFirstBehindThatLooksAtTheKeyByItself) {
  raw.command({"ACL", "SETUSER", "default", "-client|tracking"});
  Waiter second(client, long_lease);
  Waiter third(client, long_lease);
  Waiter fourth(client, long_lease);
  // The first refreshes its entry ten times a second or more often; the others are idle after 100
  // ms.
  const std::int64_t before = raw.calls("lset");
  EXPECT_TRUE(eventually([&] { return raw.calls("lset") > before + 20; }));
  EXPECT_FALSE(third.held);
  EXPECT_EQ(holder.unlock(), Unlock::released);
  ASSERT_TRUE(second.has_it());
  raw.command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return third.held.load(); }, 5s));
  EXPECT_EQ(third.ends(), Unlock::released);
  EXPECT_TRUE(fourth.has_it());
  EXPECT_EQ(fourth.ends(), Unlock::released);
  EXPECT_EQ(second.ends(), Unlock::lost);
}

TEST_F(LockHandOver, IsDoneByTheEndOfAScopeToo) {
  std::optional<Lock> guard(std::move(holder));
  Waiter next(client, long_lease);
  guard.reset();
  EXPECT_TRUE(next.has_it());
  EXPECT_EQ(next.ends(), Unlock::released);
}

TEST_F(LockHandOver, StopsAfterSixteenForThoseInOtherProcesses) {
  std::set<std::string> tokens;
  std::mutex mutex;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 40; ++i) {
      threads.emplace_back([&] {
        const Lock lock(client, "job", long_lease);
        const std::lock_guard guard(mutex);
        tokens.insert(lock.token());
      });
    }
    EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 40; }));
    holder.unlock();
  }
  EXPECT_GE(tokens.size(), 3U);
}

TEST_F(LockHandOver, StopsAfterTenMilliseconds) {
  Waiter first(client, long_lease);
  Waiter second(client, long_lease);
  Waiter third(client, long_lease);
  holder.unlock();
  ASSERT_TRUE(first.has_it());
  const std::string token = first.lock.token();
  // Of the time since the first hand-over there is no other sign.
  const auto later = std::chrono::steady_clock::now() + 10ms;
  EXPECT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > later; }));
  EXPECT_EQ(first.ends(), Unlock::released);
  ASSERT_TRUE(second.has_it());
  EXPECT_NE(second.lock.token(), token);
  EXPECT_EQ(second.ends(), Unlock::released);
  ASSERT_TRUE(third.has_it());
  EXPECT_EQ(third.ends(), Unlock::released);
}

/// Each of these gets a lease of its own instead.
class LockNoHandOver : public LockHandOver, public testing::WithParamInterface<LockOptions> {};

TEST_P(LockNoHandOver, IsPossibleToWhoWantsAnotherLease) {
  const std::string token = holder.token();
  Waiter next(client, GetParam());
  EXPECT_EQ(holder.unlock(), Unlock::released);
  ASSERT_TRUE(next.has_it());
  EXPECT_NE(next.lock.token(), token);
  EXPECT_EQ(next.ends(), Unlock::released);
}

INSTANTIATE_TEST_SUITE_P(Options, LockNoHandOver,
                         testing::Values(LockOptions{.ttl = 61s},
                                         LockOptions{.ttl = 60s, .auto_renew = false},
                                         LockOptions{.ttl = 60s, .fencing = true},
                                         LockOptions{.ttl = 60s, .label = "another"}),
                         [](const auto& one) { return "Number" + std::to_string(one.index); });

TEST_F(LockHandOver, IsNotDoneWithLessThanHalfOfTheTtl) {
  Lock brief(client, "brief", {.ttl = 2s, .max_hold = 1ms});  // which is not renewed therefore
  Lock next(client, "brief", std::defer_lock, {.ttl = 2s});
  const std::string token = brief.token();
  std::jthread thread([&] { next.lock(); });
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
  EXPECT_TRUE(eventually([&] { return brief.remaining() < 990ms; }));
  EXPECT_EQ(brief.unlock(), Unlock::released);
  thread.join();
  EXPECT_NE(next.token(), token);
}

TEST_F(LockHandOver, PassesNothingOnThatIsLost) {
  Lock lost(client, "lost", {.ttl = 1s});
  raw.command({"SET", "lost", "a stranger"});
  ASSERT_TRUE(eventually([&] { return !lost.owns_lock(); }));
  Lock next(client, "lost", std::defer_lock, {.ttl = 1s});
  std::jthread thread([&] { next.lock(); });
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
  EXPECT_EQ(lost.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("lost"), "a stranger");
  raw.command({"DEL", "lost"});
  thread.join();
  EXPECT_TRUE(next.verify());
}

TEST_F(LockHandOver, TellsALossToWhoHoldsTheLeaseNow) {
  Lock first(client, "brief", {.ttl = 1s});
  const std::stop_token lost_by_first = first.lost_token();
  Lock next(client, "brief", std::defer_lock, {.ttl = 1s});
  std::jthread thread([&] { next.lock(); });
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
  EXPECT_EQ(first.unlock(), Unlock::released);
  thread.join();
  const std::stop_token lost_by_next = next.lost_token();
  raw.command({"DEL", "brief"});
  EXPECT_TRUE(eventually([&] { return lost_by_next.stop_requested(); }));
  EXPECT_FALSE(lost_by_first.stop_requested());
}

TEST_F(LockHandOver, GoesOnBeingRenewedForWhoHoldsTheLeaseNow) {
  Lock first(client, "brief", {.ttl = 2s, .max_hold = 1h});
  Lock next(client, "brief", std::defer_lock, {.ttl = 2s});
  std::jthread thread([&] { next.lock(); });
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 1; }));
  EXPECT_EQ(first.unlock(), Unlock::released);
  thread.join();
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return raw.calls("pexpire") >= 2; }));
  EXPECT_TRUE(next.verify());
}

TEST_F(LockHandOver, PassesOverThoseWhoWereCancelledOrHadNoMoreTime) {
  Waiter cancelled(client, long_lease);
  std::atomic<bool> timed_out = false;
  std::jthread hasty([&] {
    Lock lock(client, "job", std::defer_lock, long_lease);
    timed_out = !lock.try_lock_for(50ms);
  });
  Waiter patient_one(client, long_lease);
  cancelled.cancel();
  cancelled.goes_on = true;
  EXPECT_TRUE(eventually([&] { return timed_out && client.metrics().waiting == 1; }));
  EXPECT_FALSE(cancelled.held);
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_TRUE(patient_one.has_it());
  EXPECT_EQ(patient_one.ends(), Unlock::released);
}

/// Only the first asks, however many there are.
TEST_F(LockHandOver, WaitsWithoutAStampede) {
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int i = 0; i < 20; ++i) waiters.push_back(std::make_unique<Waiter>(client, long_lease));
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return raw.calls("lset") >= 1; })) << "the refresh of the first";
  EXPECT_EQ(raw.calls("set"), 0);
  EXPECT_LE(raw.calls("evalsha"), 3);
  holder.unlock();
  for (const auto& waiter : waiters) EXPECT_EQ(waiter->ends(), Unlock::released);
}

TEST_F(LockHandOver, EndsWithTheClientsLocksInAForkedChild) {
  Waiter next(client, long_lease);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool clean = client.metrics().waiting == 0 && !holder.owns_lock() &&
                       Lock(client, "another", long_lease).owns_lock();
    ::_exit(clean ? 0 : 1);
  }
  int status = 1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_TRUE(next.has_it());
  EXPECT_EQ(next.ends(), Unlock::released);
}

/// Contenders of all kinds: none is forgotten, nothing is held twice, nothing is left.
TEST_F(LockHandOver, LosesNobodyAmongManyThatComeAndGo) {
  holder.unlock();
  std::atomic<int> inside = 0;
  std::atomic<int> acquired = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 16; ++i) {
      threads.emplace_back([&, i] {
        Lock lock(client, "job", std::defer_lock,
                  {.ttl = 60s, .label = i % 5 == 0 ? "another" : ""});
        for (unsigned n = 0; n < 200; ++n) {
          std::stop_source stop;
          if ((n + i) % 7 == 0) stop.request_stop();
          const bool held = n % 3 == 0 ? lock.try_lock_for(std::chrono::microseconds(50 * (n % 40)))
                                       : lock.lock(stop.get_token());
          if (!held) continue;
          EXPECT_EQ(++inside, 1);
          ++acquired;
          --inside;
          EXPECT_EQ(lock.unlock(), Unlock::released);
        }
      });
    }
  }
  EXPECT_GT(acquired, 1000);
  EXPECT_EQ(client.metrics().waiting, 0U);
  EXPECT_FALSE(raw.exists("job"));
}

}  // namespace hand_over_test
}  // namespace redlatch::test
