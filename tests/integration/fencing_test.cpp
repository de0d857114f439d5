// Fencing tokens on a real server, and what could make them start again.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "limited_user.hpp"

namespace redlatch::test {
namespace fencing_test {

const LockOptions fenced{.ttl = 60s, .fencing = true};
const std::string counter = "lock:job:redlatch:fence:{lock:job}";

class LockFencing : public LimitedUserTest {
 protected:
  std::uint64_t draw() {
    const Lock lock(client, "lock:job", std::try_to_lock, fenced);
    EXPECT_TRUE(lock.owns_lock());
    return lock.fencing_token();
  }
  /// What happens in between does not make the number smaller.
  template <class Mishap>
  void rises_through(Mishap mishap) {
    const std::uint64_t before = draw();
    mishap();
    EXPECT_GT(draw(), before);
  }
};

TEST_F(LockFencing, NumbersRiseWithEveryAcquisition) {
  std::uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t next = draw();
    ASSERT_GT(next, last) << i;
    last = next;
  }
}

TEST_F(LockFencing, NumbersRiseInTheOrderOfHolders) {
  std::vector<std::uint64_t> drawn;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        const Lock lock(client, "lock:job", fenced);
        drawn.push_back(lock.fencing_token());  // guarded by the lock itself
      }
    });
  }
  threads.clear();
  EXPECT_EQ(drawn.size(), 200U);
  EXPECT_EQ(std::adjacent_find(drawn.begin(), drawn.end(), std::greater_equal<>()), drawn.end());
}

TEST_F(LockFencing, NumbersAreTheServersTimeInMicroseconds) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto drawn = std::chrono::microseconds(draw());
  EXPECT_LT(std::chrono::abs(now - drawn), 1min);
}

TEST_F(LockFencing, NumbersDoNotFollowAClockThatIsSetBack) {
  raw.command({"SET", counter, "fence 9000000000000000"});
  EXPECT_EQ(draw(), 9'000'000'000'000'001U);
  EXPECT_EQ(draw(), 9'000'000'000'000'002U);
}

TEST_F(LockFencing, NumbersRiseThroughARestartThatLosesEverything) {
  rises_through([&] {
    server.kill();
    server.start();
  });
}

TEST_F(LockFencing, NumbersRiseThroughFlushall) {
  rises_through([&] { raw.command({"FLUSHALL"}); });
}

/// As by an eviction, or the end of its own ttl.
TEST_F(LockFencing, NumbersRiseThroughTheLossOfTheCounter) {
  rises_through([&] { raw.command({"DEL", counter}); });
}

TEST_F(LockFencing, NumbersRiseThroughAForgottenScript) {
  rises_through([&] { raw.command({"SCRIPT", "FLUSH"}); });
}

TEST_F(LockFencing, NumbersRiseFromOneClientToTheNext) {
  const std::uint64_t first = draw();
  Client another(server.url(), patient());
  EXPECT_GT(Lock(another, "lock:job", fenced).fencing_token(), first);
}

TEST_F(LockFencing, LeavesOneCounterThatEndsByItself) {
  draw();
  EXPECT_EQ(raw.command({"KEYS", "*"}).elements.size(), 1U);
  const std::int64_t life = raw.command({"PTTL", counter}).integer;
  EXPECT_GT(life, 23 * 3'600'000);
  EXPECT_LE(life, 24 * 3'600'000);
}

TEST_F(LockFencing, DrawsNothingForALockThatIsHeld) {
  const Lock holder(client, "lock:job", fenced);
  const std::string before = raw.get(counter);
  EXPECT_FALSE(Lock(client, "lock:job", std::try_to_lock, fenced));
  EXPECT_EQ(raw.get(counter), before);
}

TEST_F(LockFencing, ExcludesAndIsExcludedByLocksWithout) {
  {
    const Lock plain(client, "lock:job", long_lease);
    EXPECT_FALSE(Lock(client, "lock:job", std::try_to_lock, fenced));
  }
  const Lock lock(client, "lock:job", fenced);
  EXPECT_EQ(raw.get("lock:job"), lock.token());
  EXPECT_FALSE(Lock(client, "lock:job", std::try_to_lock, long_lease));
}

TEST_F(LockFencing, RefusesACounterThatIsNone) {
  raw.command({"SET", counter, "a stranger's"});
  const Error error =
      thrown_by([&] { static_cast<void>(Lock(client, "lock:job", std::try_to_lock, fenced)); });
  EXPECT_EQ(error.code(), Errc::wrong_type);
  EXPECT_NE(std::string(error.what()).find("fencing counter"), std::string::npos);
  EXPECT_FALSE(raw.exists("lock:job"));
}

TEST_F(LockFencing, NamesACounterOfAnotherKind) {
  raw.command({"LPUSH", counter, "a stranger's"});
  const Error error =
      thrown_by([&] { static_cast<void>(Lock(client, "lock:job", std::try_to_lock, fenced)); });
  EXPECT_EQ(error.code(), Errc::wrong_type);
  EXPECT_NE(std::string(error.what()).find(counter), std::string::npos) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_FALSE(raw.exists("lock:job"));
}

TEST_F(LockFencing, RefusesACounterThatCannotCount) {
  for (const char* number : {"inf", "nan", "-5", "1e30", "9007199254740992"}) {
    raw.command({"SET", counter, "fence " + std::string(number)});
    EXPECT_EQ(error_of([&] { Lock(client, "lock:job", fenced).owns_lock(); }), Errc::wrong_type)
        << number;
    EXPECT_FALSE(raw.exists("lock:job")) << number;
  }
}

TEST_F(LockFencing, NeedsTheseRightsAndNoMore) {
  const std::vector<std::string> rights{"~lock:*", "+set",     "+get",  "+del",   "+pexpire",
                                        "+eval",   "+evalsha", "+time", "+exists"};
  for (std::size_t left_out = 0; left_out <= rights.size(); ++left_out) {
    std::vector<std::string> some = rights;
    if (left_out < rights.size()) some.erase(some.begin() + static_cast<std::ptrdiff_t>(left_out));
    allow(some);
    raw.command({"SCRIPT", "FLUSH"});
    // The client's end waits for command_timeout for a release that is refused.
    Client worker = user({.connect_timeout = 20s, .command_timeout = 2s});
    const auto live = [&] {
      Lock lock(worker, "lock:job", std::try_to_lock, fenced);
      if (!lock.extend()) ADD_FAILURE() << "lost";
      if (lock.unlock() == Unlock::unknown) throw Error(Errc::not_permitted, "no release");
    };
    if (left_out == rights.size()) {
      EXPECT_NO_THROW(live());
    } else {
      EXPECT_EQ(error_of(live), Errc::not_permitted) << rights[left_out];
    }
    raw.command({"DEL", "lock:job"});
  }
}

class LockLabel : public ServerTest {};

TEST_F(LockLabel, StandsBehindTheTokenAtTheServer) {
  Lock lock(client, "job", {.ttl = 60s, .label = "host-3, pid 1234"});
  EXPECT_EQ(raw.get("job"), lock.token() + " host-3, pid 1234");
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockLabel, IsRenewedAndReleasedWithoutScriptsToo) {
  Client plain(server.url(), {.connect_timeout = 20s, .command_timeout = 20s, .scripting = false});
  Lock lock(plain, "job", {.ttl = 2s, .label = "me"});
  const std::string value = raw.get("job");
  EXPECT_EQ(value, lock.token() + " me");
  EXPECT_TRUE(eventually([&] { return plain.metrics().renewed >= 1; }));
  EXPECT_EQ(raw.get("job"), value);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(LockLabel, DoesNotHelpAStrangerWithTheSameOne) {
  Lock lock(client, "job", {.ttl = 60s, .label = "me"});
  raw.command({"SET", "job", "another-token me"});
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("job"), "another-token me");
}

}  // namespace fencing_test
}  // namespace redlatch::test
