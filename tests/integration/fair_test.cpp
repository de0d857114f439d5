// A FairLock is granted in the order of arrival at the server, to whomever and whenever.

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "child.hpp"
#include "family.hpp"
#include "filter_proxy.hpp"
#include "scripted_server.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace fair_test {

using Words = std::vector<std::string>;

/// All that has changed at a server, in its own order: the commands in its append-only file.
std::vector<Words> changes(const std::string& directory) {
  std::vector<Words> all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() != ".aof") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::string line;
    while (std::getline(file, line) && line.starts_with('*')) {
      Words& words = all.emplace_back(std::stoul(line.substr(1)));
      for (std::string& word : words) {
        std::getline(file, line);
        word.resize(std::stoul(line.substr(1)));
        file.read(word.data(), static_cast<std::streamsize>(word.size()));
        std::getline(file, line);
      }
    }
  }
  return all;
}

constexpr std::size_t processes = 8;
constexpr std::size_t grants = 10'000;

struct Course {
  std::atomic<std::size_t> ready = 0;
  std::atomic<std::size_t> count = 0;
  std::array<std::array<char, 36>, grants> tokens{};  // in the order in which they were held
};

void contend(const RedisServer& server, Course& course) {
  Client client(server.url(), patient());
  client.ping();
  ++course.ready;
  eventually([&] { return course.ready == processes; }, 60s);
  for (std::size_t i = 0; i < grants / processes; ++i) {
    const FairLock lock(client, "job", long_lease);
    lock.token().copy(course.tokens.at(course.count++).data(), 36);
  }
}

TEST(FairLockOrder, OfTenThousandGrantsInEightProcessesIsTheOrderOfArrival) {
  const RedisServer server({"--appendonly", "yes", "--appendfsync", "no"});
  const SharedMemory<Course> course;
  std::list<Child> all;
  for (std::size_t i = 0; i < processes; ++i) all.emplace_back([&] { contend(server, *course); });
  for (Child& one : all) ASSERT_EQ(one.wait(), 0);
  ASSERT_EQ(course->count, grants);

  Words held;
  for (const auto& token : course->tokens) held.emplace_back(token.begin(), token.end());
  const std::set<std::string> known(held.begin(), held.end());
  Words arrived;
  Words granted;
  std::set<std::string> queued;
  for (const Words& change : changes(server.directory())) {
    if (change[0] == "RPUSH") {
      const std::string& entry = change.at(2);
      const std::string token = entry.substr(entry.rfind(' ') + 1);
      // On a machine that stood still a waiter may have been passed over, and come again.
      if (known.contains(token)) arrived.push_back(token);
      queued.insert(token);
    }
    if (change[0] != "SET" || !known.contains(change.at(2))) continue;
    if (!queued.contains(change[2])) arrived.push_back(change[2]);  // there was no queue
    granted.push_back(change[2]);
  }
  EXPECT_EQ(known.size(), grants) << "each has a token of its own";
  EXPECT_TRUE(arrived == granted);
  EXPECT_TRUE(arrived == held);
}

class FairLockWaiting : public QueueTest {
 protected:
  /// An entry whose waiter can be notified, and never asks.
  void let_somebody_wait() {
    listener.command({"SUBSCRIBE", "redlatch:somebody"});
    raw.command({"RPUSH", queue, "99999999999999 60000 redlatch:somebody " + somebody});
  }

  const std::string somebody = "11111111-2222-4333-8444-555555555555";

  FairLock holder{client, "job", std::defer_lock, long_lease};
  RawClient listener{server.socket()};
};

/// As during a failover, or behind a restart.
TEST_F(FairLockWaiting, IsRefusedToNoneWhileTheServerIsLoading) {
  FilterProxy proxy(server.socket(), [left = 6](const ScriptedRequest& request) mutable {
    if (!request.is("SUBSCRIBE") || left == 0) return std::optional<std::string>();
    --left;
    return std::optional(resp::error("LOADING Redis is loading the dataset in memory"));
  });
  holder.lock();
  Client other(proxy.url());
  std::jthread waiting([&] {
    FairLock lock(other, "job", std::defer_lock, long_lease);
    EXPECT_FALSE(error_of([&] { EXPECT_TRUE(lock.try_lock_for(60s)); }));
  });
  EXPECT_TRUE(eventually([&] { return proxy.front().count("SUBSCRIBE") > 6; }));
  holder.unlock();
}

/// The connection for messages, without which it cannot queue up, was asked for in vain for long.
TEST_F(FairLockWaiting, GoesOnSoonAfterASilenceOfTheServer) {
  constexpr auto silence = 4s;
  FilterProxy proxy(server.socket(), [&, is_first = true](const ScriptedRequest& request) mutable {
    if (request.is("SUBSCRIBE") && std::exchange(is_first, false)) {
      raw.command({"CLIENT", "PAUSE", std::to_string((silence + 500ms) / 1ms), "ALL"});
    }
    return std::optional<std::string>();
  });
  holder.lock();
  Client other(proxy.url(), {.connect_timeout = silence});
  std::atomic<bool> has = false;
  std::jthread waiting([&] {
    FairLock lock(other, "job", std::defer_lock, long_lease);
    EXPECT_FALSE(error_of([&] { has = lock.try_lock_for(60s); }));
  });
  EXPECT_TRUE(eventually([&] { return proxy.front().count("SUBSCRIBE") > 1; }, 20s));
  holder.unlock();
  EXPECT_TRUE(eventually([&] { return has.load(); }));
}

TEST_F(FairLockWaiting, TurnsOfThreadsOfOneClientAreInTheOrderOfArrival) {
  holder.lock();
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const FairLock lock(client, "job", long_lease);
      const std::lock_guard guard(mutex);
      order.push_back(i);
    });
    ASSERT_TRUE(is_queued(i + 1));
  }
  holder.unlock();
  threads.clear();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST_F(FairLockWaiting, TurnsOfClientsAreInTheOrderOfArrival) {
  holder.lock();
  std::vector<std::unique_ptr<Rival<FairLock>>> rivals;
  for (int i = 0; i < 5; ++i) {
    rivals.push_back(std::make_unique<Rival<FairLock>>(another()));
    ASSERT_TRUE(is_queued(i + 1));
  }
  holder.unlock();
  for (std::size_t i = 0; i < rivals.size(); ++i) {
    ASSERT_TRUE(rivals[i]->has_it());
    EXPECT_EQ(queued(), static_cast<std::int64_t>(rivals.size() - i - 1));
    rivals[i]->ends();
  }
  EXPECT_TRUE(is_empty());
}

TEST_F(FairLockWaiting, AttemptGivesWayToThoseWhoWaitWhenALeaseHasExpired) {
  let_somebody_wait();
  EXPECT_FALSE(holder.try_lock());
  EXPECT_EQ(raw.get("job"), somebody);
  EXPECT_EQ(queued(), 0);
}

TEST_F(FairLockWaiting, WaitComesAfterThoseWhoWaitWhenALeaseHasExpired) {
  let_somebody_wait();
  Rival<FairLock> rival(another());
  ASSERT_TRUE(eventually([&] { return raw.get("job") == somebody; }));
  ASSERT_TRUE(is_queued(1));
  EXPECT_FALSE(rival.held);
  raw.command({"DEL", "job"});
  EXPECT_TRUE(rival.has_it());
}

/// Else a waiter that comes at the end of that minute would lose its place with the queue.
TEST_F(FairLockWaiting, WaitBeginsTheMinuteOfAnAbandonedQueueAnew) {
  holder.lock();
  raw.command({"RPUSH", queue, "1 60000 redlatch:somebody " + somebody});
  raw.command({"PEXPIRE", queue, "30000"});
  const Rival<FairLock> rival(another());
  ASSERT_TRUE(is_queued(2));
  EXPECT_GT(raw.pttl(queue), 30'000);
}

TEST_F(FairLockWaiting, AttemptTakesWhatNobodyWaitsFor) {
  EXPECT_TRUE(holder.try_lock());
  EXPECT_EQ(raw.get("job"), holder.token());
  EXPECT_FALSE(FairLock(client, "job", std::try_to_lock));
}

TEST_F(FairLockWaiting, LockIsKeptOutByALockAndKeepsItOut) {
  holder.lock();
  EXPECT_FALSE(Lock(client, "job", std::try_to_lock));
  holder.unlock();
  const Lock lock(client, "job", long_lease);
  EXPECT_FALSE(holder.try_lock());
  EXPECT_FALSE(holder.try_lock_for(20ms));
}

TEST_F(FairLockWaiting, LockIsGrantedByTheReleaseOfALockAndTheOtherWayRound) {
  Lock lock(client, "job", long_lease);
  Rival<FairLock> fair(another());
  ASSERT_TRUE(is_queued(1));
  Contender plain(another());
  ASSERT_TRUE(is_queued(2));
  lock.unlock();
  ASSERT_TRUE(fair.has_it());
  EXPECT_FALSE(plain.held);
  fair.ends();
  EXPECT_TRUE(plain.has_it());
}

TEST_F(FairLockWaiting, QueueIsEmptyAfterAHundredWaitsThatGaveUp) {
  holder.lock();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 10; ++i) {
    threads.emplace_back([&] {
      FairLock lock(client, "job", std::defer_lock, long_lease);
      for (int j = 0; j < 10; ++j) EXPECT_FALSE(lock.try_lock_for(std::chrono::milliseconds(j)));
    });
  }
  threads.clear();
  ASSERT_TRUE(is_queued(0));
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job")) << "granted to nobody who has given up";
  EXPECT_TRUE(holder.try_lock());
}

TEST_F(FairLockWaiting, LockSaysWhenItsUserMayNotQueueUp) {
  holder.lock();
  raw.command({"ACL", "SETUSER", "worker", "on", ">secret", "~*", "resetchannels", "+@all"});
  Client worker("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()), patient());
  FairLock lock(worker, "job", std::defer_lock, long_lease);
  const Error error = thrown_by([&] { lock.lock(); });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_NE(std::string(error.what()).find("queue"), std::string::npos) << error.what();
  holder.unlock();
  EXPECT_TRUE(lock.try_lock()) << "which needs no queue";
}

}  // namespace fair_test
}  // namespace redlatch::test
