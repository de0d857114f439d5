// Constructors with a stop token, and `lost_token(other)`, of every class.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <vector>

#include "every_class.hpp"
#include "proxy.hpp"
#include "scripted_server.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace stopping_test {

template <class Of>
class EveryLockStopping : public testing::Test {
 protected:
  using L = typename Of::Class;

  template <class... How>
  L make(How... how) {
    return Of::make(servers, std::move(how)...);
  }
  std::stop_token token() const { return stop.get_token(); }
  bool waits() {
    return eventually([&] { return servers.waiting() == 1; });
  }
  /// A stranger's lock, which keeps every class waiting.
  void take_the_key() {
    constexpr bool is_string = std::is_same_v<L, Lock> || std::is_same_v<L, FairLock> ||
                               std::is_same_v<L, MultiLock> || std::is_same_v<L, Redlock>;
    if constexpr (is_string) {
      raw.command({"SET", "job", "a stranger"});
      return;
    }
    stranger.emplace(server.url(), patient());
    if constexpr (std::is_same_v<L, Permit>) {
      holder.emplace(*stranger, "job", 1, std::defer_lock, long_lease);
    } else if constexpr (std::is_same_v<L, ReadLock>) {
      writer.emplace(*stranger, "job", long_lease);
    } else if constexpr (std::is_same_v<L, RecursiveLock>) {
      holder.emplace(*stranger, "job", Owner{"stranger"}, std::defer_lock, long_lease);
    } else if constexpr (std::is_same_v<L, WriteLock>) {
      holder.emplace(*stranger, "job", std::defer_lock, long_lease);
    } else {
      static_assert(is_string, "say what keeps this class waiting");
    }
    if (holder) holder->lock();
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Servers servers{server.url()};
  std::stop_source stop{};
  std::stop_source another{};
  std::optional<Client> stranger{};
  std::optional<L> holder{};
  std::optional<WriteLock> writer{};
};
TYPED_TEST_SUITE(EveryLockStopping, EveryClass, );

TYPED_TEST(EveryLockStopping, HoldsWhatIsFree) {
  {
    const auto lock = this->make(this->token());
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_GT(lock.remaining(), 5s);
  }
  {
    const auto lock = this->make(this->token(), LockOptions{.ttl = 60s});
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_GT(lock.remaining(), 30s);
  }
  {
    const auto lock = this->make(30s, this->token());
    EXPECT_TRUE(lock.owns_lock());
  }
  const auto lock = this->make(1min, this->token(), LockOptions{.ttl = 60s});
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_GT(lock.remaining(), 30s);
}

TYPED_TEST(EveryLockStopping, HoldsAndSendsNothingWhenItIsStoppedAlready) {
  this->stop.request_stop();
  const auto lock = this->make(this->token(), long_lease);
  EXPECT_FALSE(lock.owns_lock());
  const auto bounded = this->make(1min, this->token(), long_lease);
  EXPECT_FALSE(bounded.owns_lock());
  EXPECT_EQ(this->raw.command({"DBSIZE"}).integer, 0);
  EXPECT_EQ(this->servers.client.metrics().connected, 0U);
}

TYPED_TEST(EveryLockStopping, EndsAWaitWithoutBound) {
  this->take_the_key();
  const std::jthread stopper([&] {
    EXPECT_TRUE(this->waits());
    this->stop.request_stop();
  });
  const auto lock = this->make(this->token(), long_lease);
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST(EveryLockStopping, EndsABoundedWait) {
  this->take_the_key();
  const std::jthread stopper([&] {
    EXPECT_TRUE(this->waits());
    this->stop.request_stop();
  });
  const auto lock = this->make(1h, this->token(), long_lease);
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST(EveryLockStopping, EndsABoundedWaitWhenItsTimeIsOver) {
  this->take_the_key();
  const auto lock = this->make(30ms, this->token());
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST(EveryLockStopping, IsOneTokenForALossAndAStop) {
  {
    auto lock = this->make(long_lease);
    const std::stop_token either = lock.lost_token(this->token());
    EXPECT_FALSE(either.stop_requested());
    this->stop.request_stop();
    EXPECT_TRUE(either.stop_requested());
    EXPECT_TRUE(lock.owns_lock());
  }
  auto lock = this->make(LockOptions{.ttl = 1s});
  const std::stop_token either = lock.lost_token(this->another.get_token());
  this->raw.command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return either.stop_requested(); }));
  EXPECT_FALSE(this->another.stop_requested());
  EXPECT_FALSE(lock.owns_lock());
}

TYPED_TEST(EveryLockStopping, EndsWithALockThatIsDestroyedOrMoved) {
  std::optional lock(this->make(long_lease));
  const std::stop_token either = lock->lost_token(this->token());
  std::optional moved(std::move(*lock));
  lock.reset();
  const std::stop_token same = moved->lost_token(this->token());
  EXPECT_TRUE(same == either);
  moved.reset();
  this->stop.request_stop();
  EXPECT_FALSE(either.stop_requested()) << "the lock was released before";
}

TYPED_TEST(EveryLockStopping, IsHeldWithAllTheOthers) {
  auto lock = this->make(long_lease);
  Lock other(this->servers.client, "another job", long_lease);
  EXPECT_TRUE(owns_all(lock));
  EXPECT_TRUE(owns_all(lock, other));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(owns_all(lock, other));
  EXPECT_FALSE(owns_all(other, lock));
  EXPECT_TRUE(owns_all(other));
}

const LockOptions rides_out{.ttl = 60s, .ride_out = true};

/// Threads that wait for "job" until they are stopped.
template <class Of>
class StoppedWaiters {
 public:
  StoppedWaiters(Servers& servers, const LockOptions& options, std::size_t count = 1)
      : threads_(count) {
    for (auto& [thread, number] : threads_) {
      thread = std::jthread([&servers, &number = number, options, token = stop_.get_token()] {
        number = ::gettid();
        EXPECT_FALSE(Of::make(servers, token, options).owns_lock());
      });
    }
  }

  bool all_sleep() {
    return eventually([&] {
      return std::all_of(threads_.begin(), threads_.end(),
                         [](const Waiter& one) { return one.number != 0 && sleeps(one.number); });
    });
  }
  /// How long they go on after the stop.
  std::chrono::nanoseconds stop() {
    return duration_of([this] {
      stop_.request_stop();
      for (Waiter& one : threads_) one.thread.join();
    });
  }

 private:
  struct Waiter {
    std::jthread thread{};
    std::atomic<pid_t> number = 0;
  };

  std::stop_source stop_{};
  std::vector<Waiter> threads_;
};

template <class Of>
class EveryLockStoppingInAnOutage : public testing::Test {};
TYPED_TEST_SUITE(EveryLockStoppingInAnOutage, EveryClass, );

/// The pauses between the attempts to connect have grown to a second.
TYPED_TEST(EveryLockStoppingInAnOutage, EndsThePauseBetweenAttemptsToConnect) {
  RedisServer server;
  Proxy proxy(server.socket());
  proxy.redirect("/nowhere");
  Servers servers(proxy.url(), single());
  std::array<std::chrono::nanoseconds, 7> times{};
  for (auto& time : times) {
    StoppedWaiters<TypeParam> waiters(servers, rides_out, 8);
    EXPECT_TRUE(eventually([&] { return proxy.refused() >= 12; }));
    EXPECT_TRUE(waiters.all_sleep());
    time = waiters.stop();
  }
  std::ranges::nth_element(times, times.begin() + times.size() / 2);
  EXPECT_LT(times[times.size() / 2], 100ms);
}

/// A server that accepts the connection, and answers nothing.
TYPED_TEST(EveryLockStoppingInAnOutage, EndsAnAttemptToConnect) {
  ScriptedServer server([](const ScriptedRequest&) { return std::string(); });
  Servers servers(server.url());
  StoppedWaiters<TypeParam> waiters(servers, long_lease, 3);
  EXPECT_TRUE(eventually([&] { return !server.requests().empty(); }));
  EXPECT_TRUE(waiters.all_sleep());
  EXPECT_LT(waiters.stop(), 10s);
}

/// The attempt of the thread that is stopped is made anew by one that is not.
TYPED_TEST(EveryLockStoppingInAnOutage, LeavesTheConnectionToOthers) {
  RedisServer server;
  server.pause();
  Servers servers(server.url(), single());
  StoppedWaiters<TypeParam> stopped(servers, long_lease);
  EXPECT_TRUE(stopped.all_sleep());
  std::thread other([&] { EXPECT_TRUE(TypeParam::make(servers, long_lease).owns_lock()); });
  EXPECT_LT(stopped.stop(), 10s);
  server.resume();
  other.join();
}

}  // namespace stopping_test
}  // namespace redlatch::test
