// Locks that are held for longer than their ttl, on a real server.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "limited_user.hpp"

namespace redlatch::test {
namespace renewing_test {

constexpr auto ttl = 1500ms;
const LockOptions brief{.ttl = ttl};

class LockRenewing : public LimitedUserTest {
 protected:
  LockRenewing() { raw.command({"CONFIG", "RESETSTAT"}); }

  std::int64_t renewals() { return raw.calls("pexpire"); }
  /// At least one more renewal has been carried out.
  bool goes_on() {
    const std::int64_t before = renewals();
    return eventually([&] { return renewals() > before; });
  }
  /// It is held all the time until the condition holds.
  static testing::AssertionResult stays(const Lock& lock, const std::function<bool()>& condition) {
    bool held = true;
    const bool came = eventually([&] {
      held = held && lock.owns_lock();
      return condition();
    });
    if (!came) return testing::AssertionFailure() << "it did not come to that";
    if (!held) return testing::AssertionFailure() << "it was lost for a moment";
    return testing::AssertionSuccess();
  }
};

TEST_F(LockRenewing, KeepsALockForLongerThanItsTtl) {
  Lock lock(client, "job", brief);
  const std::string token = lock.token();
  EXPECT_TRUE(stays(lock, [&] { return renewals() >= 4; }));  // more than a ttl
  EXPECT_EQ(lock.token(), token);
  EXPECT_EQ(raw.get("job"), token);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockRenewing, IsNotDoneWhenItShallNotBe) {
  Lock lock = in_time([&] { return Lock(client, "job", {.ttl = 100ms, .auto_renew = false}); });
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_EQ(renewals(), 0);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

TEST_F(LockRenewing, EndsAtMaxHold) {
  Lock lock(client, "job", {.ttl = ttl, .max_hold = 2s});
  EXPECT_TRUE(eventually([&] { return lock.lost_token().stop_requested(); }));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_GT(renewals(), 0);
  EXPECT_LE(renewals(), 5);
}

TEST_F(LockRenewing, GivesTheTtlOfTheLastExtension) {
  Lock lock(client, "job", brief);
  EXPECT_TRUE(lock.extend(3s));
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return renewals() > 0; }));
  EXPECT_GT(raw.pttl("job"), 1000);
}

TEST_F(LockRenewing, GoesOnWhenTheServerForgetsScripts) {
  const Lock lock(client, "job", brief);
  raw.command({"SCRIPT", "FLUSH"});
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
}

TEST_F(LockRenewing, GoesOnWhenConnectionsAreKilled) {
  const Lock lock(client, "job", brief);
  for (int i = 0; i < 2; ++i) {
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
    EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
  }
}

TEST_F(LockRenewing, GoesOnAfterARestartThatKeptTheKey) {
  RedisServer durable({"--appendonly", "yes", "--appendfsync", "always"});
  Client patient_client(durable.url(), patient());
  const Lock lock(patient_client, "job", {.ttl = 3s});
  durable.kill();
  durable.start();
  RawClient look(durable.socket());
  EXPECT_TRUE(stays(lock, [&] { return look.calls("pexpire") >= 2; }));
  EXPECT_TRUE(look.exists("job"));
}

TEST_F(LockRenewing, GoesOnWhenTheServerWritesAgain) {
  const Lock lock(client, "job", {.ttl = 3s});
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_TRUE(eventually([&] { return raw.errors("READONLY") >= 2; }));
  raw.command({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
}

TEST_F(LockRenewing, WorksForTheNextLockToo) {
  for (int i = 0; i < 2; ++i) {
    Lock lock(client, "job", brief);
    EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
}

TEST_F(LockRenewing, WorksWithoutScripts) {
  ClientOptions options = patient();
  options.scripting = false;
  Client plain(server.url(), options);
  Lock lock(plain, "job", brief);
  EXPECT_TRUE(stays(lock, [&] { return plain.metrics().renewed >= 4; }));  // more than a ttl
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.calls("evalsha"), 0);
}

TEST_F(LockRenewing, WorksForAUserWhoMayNotRunScripts) {
  allow({"~*", "+set", "+getrange", "+exists", "+del", "+pexpire", "+watch", "+multi", "+exec"});
  Client limited = user();
  Lock lock(limited, "job", brief);
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockRenewing, MovesWithTheLock) {
  Lock lock(client, "job", brief);
  Lock other(std::move(lock));
  EXPECT_TRUE(stays(other, [&] { return goes_on(); }));
  Lock third(client, "another", std::defer_lock);
  third = std::move(other);
  EXPECT_TRUE(stays(third, [&] { return goes_on(); }));
}

TEST_F(LockRenewing, OutlivesTheClient) {
  std::optional<Client> passing(std::in_place, server.url(), patient());
  Lock lock(*passing, "job", brief);
  passing.reset();
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockRenewing, IsDoneWhileOthersUseTheConnection) {
  ClientOptions options = patient();
  options.connections = 1;
  Client shared(server.url(), options);
  const Lock lock(shared, "job", brief);
  std::jthread busy([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) const Lock other(shared, "other", long_lease);
  });
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
}

TEST_F(LockRenewing, IsTheParentsBusinessAfterAFork) {
  Lock lock(client, "job", brief);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool nothing = !lock.owns_lock() && !lock.lost_token().stop_possible();
    Lock own(client, "child", brief);
    const auto until = own.expires_at();
    const bool renewed = eventually([&] { return own.expires_at() > until; });
    const bool released = own.unlock() == Unlock::released;
    ::_exit(nothing && renewed && released ? 0 : 1);
  }
  ASSERT_GT(child, 0);
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(stays(lock, [&] { return goes_on(); }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockRenewing, OfTenThousandLocksCostsOneThread) {
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const Lock first(client, "first", long_lease);
  const auto before = threads();
  std::vector<std::deque<Lock>> locks(10);
  {
    std::vector<std::jthread> lockers;
    for (std::size_t i = 0; i < locks.size(); ++i) {
      lockers.emplace_back([&, i] {
        for (int n = 0; n < 1000; ++n) {
          const std::string key = "job:" + std::to_string(i) + ":" + std::to_string(n);
          locks[i].emplace_back(client, key, LockOptions{.ttl = 20s});
        }
      });
    }
  }
  EXPECT_EQ(threads(), before);
  const auto count = [&](auto is_so) {
    std::ptrdiff_t sum = 0;
    for (const auto& some : locks) sum += std::count_if(some.begin(), some.end(), is_so);
    return sum;
  };
  const auto all_acquired = std::chrono::steady_clock::now();
  EXPECT_TRUE(eventually(
      [&] {
        return count([&](const Lock& one) { return one.expires_at() > all_acquired + 20s; }) ==
               10'000;
      },
      60s))
      << "all of them are renewed";
  EXPECT_EQ(count([](const Lock& one) { return one.owns_lock(); }), 10'000);
  locks.clear();
  client.ping();
  EXPECT_TRUE(eventually([&] { return raw.command({"DBSIZE"}).integer == 1; }));
}

}  // namespace renewing_test
}  // namespace redlatch::test
