// Clients that wait for the same key queue up at the server, and a release grants it to the
// first of them.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "contender.hpp"
#include "process.hpp"

namespace redlatch::test {
namespace server_queue_test {

class ServerQueue : public ServerQueueTest {};

TEST_F(ServerQueue, GrantsInTheOrderOfArrival) {
  std::vector<std::unique_ptr<Contender>> contenders;
  for (int i = 0; i < 5; ++i) {
    contenders.push_back(std::make_unique<Contender>(another()));
    ASSERT_TRUE(is_queued(i + 1));
  }
  holder.unlock();
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    ASSERT_TRUE(contenders[i]->has_it());
    EXPECT_EQ(queued(), static_cast<std::int64_t>(contenders.size() - i - 1));
    contenders[i]->ends();
  }
  EXPECT_TRUE(is_empty());
}

TEST_F(ServerQueue, LetsNobodyInBetweenNotEvenTheOneWhoReleases) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  holder.unlock();
  EXPECT_FALSE(holder.try_lock());
  ASSERT_TRUE(contender.has_it());
  EXPECT_EQ(raw.get("job"), contender.lock.token());
}

TEST_F(ServerQueue, GrantsWhatAGuardReleases) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  holder = Lock(client, "other", std::defer_lock);
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueue, GivesTheWholeTtlAndTheLabelOfTheOneWhoWaited) {
  Contender contender(another(), {.ttl = 20s, .label = "me"});
  ASSERT_TRUE(is_queued(1));
  holder.unlock();
  ASSERT_TRUE(contender.has_it());
  EXPECT_EQ(raw.get("job"), contender.lock.token() + " me");
  EXPECT_GT(contender.lock.remaining(), 10s);
  EXPECT_LE(contender.lock.remaining(), 20s);
  EXPECT_GT(raw.pttl("job"), contender.lock.remaining().count());
}

TEST_F(ServerQueue, RenewsWhatItHasGranted) {
  Contender contender(another(), {.ttl = 2s});
  ASSERT_TRUE(is_queued(1));
  holder.unlock();
  ASSERT_TRUE(contender.has_it());
  EXPECT_TRUE(eventually([&] { return contender.client().metrics().renewed >= 2; }));
  EXPECT_TRUE(contender.lock.owns_lock());
}

TEST_F(ServerQueue, NumbersWhatItHasGranted) {
  const LockOptions fenced{.ttl = 60s, .fencing = true};
  holder.unlock();
  Lock first(client, "job", fenced);
  Contender contender(another(), fenced);
  ASSERT_TRUE(is_queued(1));
  const std::uint64_t number = first.fencing_token();
  first.unlock();
  ASSERT_TRUE(contender.has_it());
  EXPECT_GT(contender.lock.fencing_token(), number);
}

TEST_F(ServerQueue, HasOneEntryForAllThreadsOfAClient) {
  const Client shared = another();
  std::vector<std::jthread> threads;
  Client client_of_threads = another();
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { Lock lock(client_of_threads, "job", long_lease); });
  }
  ASSERT_TRUE(eventually([&] { return client_of_threads.metrics().waiting == 8; }));
  ASSERT_TRUE(is_queued(1));
  EXPECT_EQ(queued(), 1);
  holder.unlock();
  threads.clear();
  EXPECT_TRUE(is_empty());
}

TEST_F(ServerQueue, IsLeftWhenTheTimeIsOver) {
  Client other = another();
  EXPECT_FALSE(Lock(other, "job", 100ms, long_lease));
  EXPECT_TRUE(eventually([&] { return queued() == 0; }));
  EXPECT_EQ(raw.get("job"), holder.token());
}

TEST_F(ServerQueue, IsLeftWhenTheWaitIsCancelled) {
  Contender first(another());
  ASSERT_TRUE(is_queued(1));
  Contender second(another());
  ASSERT_TRUE(is_queued(2));
  first.cancel();
  EXPECT_TRUE(first.is_cancelled());
  EXPECT_TRUE(is_queued(1));
  holder.unlock();
  EXPECT_TRUE(second.has_it());
}

TEST_F(ServerQueue, IsNotStoppedByGrantsThatNobodyWaitsForAnyMore) {
  std::optional<Contender> contender(std::in_place, another());
  ASSERT_TRUE(is_queued(1));
  // As if an entry that was given up had been served all the same.
  const std::string stray = "11111111-2222-4333-8444-555555555555";
  const std::string later = std::to_string(raw.time_in_milliseconds() + 3'600'000);
  raw.command({"LPUSH", queue, later + " 600000 " + entry(0).channel + " " + stray});
  holder.unlock();
  EXPECT_TRUE(contender->has_it());
  contender.reset();
  EXPECT_TRUE(is_empty());
}

TEST_F(ServerQueue, IsNotStoppedByAGrantThatComesAfterTheLastWait) {
  Client other = another();
  EXPECT_FALSE(Lock(other, "job", 50ms, long_lease));
  const RawReply channels = raw.command({"PUBSUB", "CHANNELS", "redlatch:*"});
  ASSERT_EQ(channels.elements.size(), 1U);
  const std::string stray = "11111111-2222-4333-8444-555555555555";
  holder.unlock();
  raw.command({"SET", "job", stray, "PX", "600000"});
  raw.command({"PUBLISH", channels.elements[0].text, stray + "\njob"});
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(ServerQueue, ServesAKeyThatAStrangerHasDeleted) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  raw.command({"DEL", "job"});
  EXPECT_TRUE(contender.has_it());
}

/// By its timer alone each round would take a second.
TEST_F(ServerQueue, NoticesAtOnceThatAStrangerLetsGo) {
  holder.unlock();
  const auto time = duration_of([&] {
    for (int i = 0; i < 40; ++i) {
      raw.command({"SET", "job", "stranger"});
      Contender contender(another());
      ASSERT_TRUE(is_queued(1));
      ASSERT_TRUE(eventually([&] { return raw.info("clients", "tracking_clients:") > 0; }));
      raw.command({"DEL", "job"});
      ASSERT_TRUE(contender.has_it());
    }
  });
  EXPECT_LT(time, 35s);
}

TEST_F(ServerQueue, ServesWhenTheLeaseOfADeadHolderEnds) {
  raw.command({"SET", "job", "dead", "PX", "500"});
  Contender contender(another());
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueue, GoesOnWhenTheConnectionForMessagesIsLost) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  for (int i = 0; i < 5; ++i) {
    const auto before = contender.client().metrics().disconnected;
    raw.command({"CLIENT", "KILL", "TYPE", "pubsub"});
    EXPECT_TRUE(eventually([&] { return contender.client().metrics().disconnected > before; }));
    EXPECT_TRUE(eventually([&] {
      return raw.command({"PUBSUB", "CHANNELS", "redlatch:*"}).elements.size() == 1;
    }));
  }
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueue, GoesOnWhenNobodyWasThereToBeTold) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  raw.command({"CLIENT", "KILL", "TYPE", "pubsub"});
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueue, GoesOnWhenQueuesAndScriptsAreForgotten) {
  Contender first(another());
  Contender second(another());
  ASSERT_TRUE(is_queued(2));
  raw.command({"DEL", queue});
  raw.command({"SCRIPT", "FLUSH"});
  holder.unlock();
  ASSERT_TRUE(eventually([&] { return first.held || second.held; }, 30s));
  Contender& one = first.held ? first : second;
  one.ends();
  EXPECT_TRUE((&one == &first ? second : first).has_it());
}

/// What was in doubt when the connections broke is settled after command_timeout, for which the end
/// of the client waits.
TEST_F(ServerQueue, GoesOnAfterARestartThatForgetsEverything) {
  Contender contender(Client(server.url(), {.connect_timeout = 1s, .command_timeout = 2s}));
  ASSERT_TRUE(contender.is_told_to_wait());
  ASSERT_TRUE(is_queued(1));
  server.kill();
  server.start();
  EXPECT_TRUE(contender.has_it());
}

/// A process whose first line in is "hold" queues up with a lease of a second.
class ServerQueueProcess : public ServerQueueTest {
 protected:
  Process process{{REDLATCH_WORKER, server.url(), "job", "/dev/null", "locked"}};
};

TEST_F(ServerQueueProcess, ThatIsKilledIsPassedOver) {
  process.write_line("hold");
  ASSERT_TRUE(is_queued(1));
  Contender contender(another());
  ASSERT_TRUE(is_queued(2));
  process.kill();
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueueProcess, ThatIsStoppedIsPassedOverOnceItIsNotHeardOfAnyMore) {
  process.write_line("hold");
  ASSERT_TRUE(is_queued(1));
  Contender contender(another());
  ASSERT_TRUE(is_queued(2));
  process.pause();
  EXPECT_TRUE(eventually([&] { return entry(0).expiry < raw.time_in_milliseconds(); }));
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
  process.resume();
  contender.ends();
  EXPECT_EQ(process.read_line(), "held") << "it queues up again";
}

TEST_F(ServerQueueProcess, ThatIsStoppedWhileTheLockIsGrantedToItHoldsItForItsTtlOnly) {
  process.write_line("hold");
  ASSERT_TRUE(is_queued(1));
  Contender contender(another());
  ASSERT_TRUE(is_queued(2));
  process.pause();
  const std::string stopped = entry(0).value;
  holder.unlock();
  EXPECT_EQ(raw.get("job"), stopped);
  EXPECT_TRUE(contender.has_it());
  process.resume();
  contender.ends();
  EXPECT_EQ(process.read_line(), "held");
}

TEST_F(ServerQueue, LeavesNoKeyForEver) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  EXPECT_GT(raw.pttl(queue), 0);
  EXPECT_LE(raw.pttl(queue), 3'600'000);
}

TEST_F(ServerQueue, GoesOnWhenTheServerRunsOutOfMemory) {
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(holder.unlock(), Unlock::released);
  raw.command({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueue, IsNotStoppedByAWaiterForAnotherKindOfLock) {
  RawClient listener(server.socket());
  listener.command({"SUBSCRIBE", "redlatch:reader"});
  raw.command({"RPUSH", queue,
               "99999999999999 60000 redlatch:reader r1 11111111-2222-4333-8444-555555555555"});
  Contender contender(another());
  ASSERT_TRUE(is_queued(2));
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_TRUE(contender.has_it());
}

/// The server tells of its changes as of those of the lock.
TEST_F(ServerQueue, IsNotAskedForEachChangeOfAKeyOfTheSameNameInAnotherDatabase) {
  constexpr int changes = 20'000;
  const Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  RawClient other(server.socket());
  other.command({"SELECT", "1"});
  for (int i = 0; i < changes; ++i) other.command({"INCR", "job"});
  EXPECT_LE(raw.calls("evalsha"), changes / 20);
}

}  // namespace server_queue_test
}  // namespace redlatch::test
