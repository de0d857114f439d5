// Locks that have to get to a real replica, or to a real disk.

#include <atomic>
#include <list>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"
#include "slow_link.hpp"

namespace redlatch::test {
namespace durability_test {

class LockDurable : public ServerTest {
 protected:
  LockDurable() {
    EXPECT_TRUE(eventually([&] { return is_in_step(); }));
    raw.command({"CONFIG", "RESETSTAT"});
  }
  ~LockDurable() override { replica.resume(); }

  /// The replica answers at once for what is written. Right behind its first synchronisation it may
  /// take a second.
  bool is_in_step() {
    for (int i = 0; i < 5; ++i) {
      raw.command({"SET", "in step?", "", "PX", "1"});
      if (raw.command({"WAIT", "1", "100"}).integer < 1) return false;
    }
    return true;
  }

  /// Of a server that does not wait for others before it serves the first.
  std::vector<std::string> as_replica() {
    raw.command({"CONFIG", "SET", "repl-diskless-sync-delay", "0"});
    return {"--replicaof", "127.0.0.1", std::to_string(server.port())};
  }

  RedisServer replica{as_replica()};
  RawClient raw_replica{replica.socket()};
  const LockOptions on_one{.ttl = 60s, .durability = {.replicas = 1, .timeout = 20s}};
  const LockOptions hasty{.ttl = 60s, .durability = {.replicas = 1, .timeout = 300ms}};
};

TEST_F(LockDurable, LocksAreAtTheReplicaWhenTheyAreHeld) {
  for (int i = 0; i < 100; ++i) {
    Lock lock(client, "job", on_one);
    ASSERT_EQ(raw_replica.get("job"), lock.token()) << i;
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
}

TEST_F(LockDurable, LocksAreLeftForTheirMinHoldAtBothServers) {
  LockOptions options = on_one;
  options.min_hold = 120s;
  Lock lock(client, "job", options);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_GT(raw.pttl("job"), 60'000);
  EXPECT_TRUE(eventually([&] { return raw_replica.pttl("job") > 60'000; }));
}

TEST_F(LockDurable, LocksAreUndoneWhenTheReplicaIsSilent) {
  replica.pause();
  const Error error = thrown_by([&] { const Lock lock(client, "job", hasty); });
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_NE(std::string(error.what()).find("0 of 1 replicas"), std::string::npos) << error.what();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  replica.resume();
  EXPECT_TRUE(Lock(client, "job", on_one));
}

/// As after a failover, when the former primary is still away.
TEST_F(LockDurable, LocksThatRideOutComeWithAReplicaThatIsBackLater) {
  LockOptions options = hasty;
  options.ride_out = true;
  replica.pause();
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", 1ms, options); }), Errc::no_quorum);
  std::jthread waker([&] {
    EXPECT_TRUE(eventually([&] { return raw.calls("wait") >= 4; }));
    replica.resume();
  });
  const Lock lock(client, "job", options);
  EXPECT_EQ(raw_replica.get("job"), lock.token());
  const FairLock fair(client, "another job", options);
  EXPECT_TRUE(fair.owns_lock());
}

/// Each attempt leaves the lock to the next in line.
TEST_F(LockDurable, WaitersThatRideOutTakeTurns) {
  LockOptions options = hasty;
  options.ride_out = true;
  replica.pause();
  Client other(server.url(), patient());
  std::atomic<int> acquired = 0;
  std::list<std::jthread> waiters;
  for (Client* one : {&client, &other, &client, &other}) {
    waiters.emplace_back([&, one] {
      const Lock lock(*one, "job", options);
      ++acquired;
    });
  }
  EXPECT_TRUE(eventually([&] { return raw.calls("wait") >= 6; }));
  EXPECT_EQ(acquired, 0);
  replica.resume();
  waiters.clear();
  EXPECT_EQ(acquired, 4);
}

TEST_F(LockDurable, LocksComeWithTheReplica) {
  replica.pause();
  std::jthread waker([&] {
    eventually([&] { return raw.calls("wait") >= 1; });
    replica.resume();
  });
  const Lock lock(client, "job", on_one);
  EXPECT_EQ(raw_replica.get("job"), lock.token());
}

TEST_F(LockDurable, LocksDoNotKeepOthersWaiting) {
  ClientOptions options = patient();
  options.connections = 1;
  Client shared(server.url(), options);
  replica.pause();
  std::jthread waiter([&] {
    EXPECT_EQ(error_of([&] {
                const Lock lock(shared, "job",
                                {.ttl = 60s, .durability = {.replicas = 1, .timeout = 1s}});
              }),
              Errc::no_quorum);
  });
  EXPECT_TRUE(eventually([&] {
    return raw.command({"INFO", "clients"}).text.find("blocked_clients:1") != std::string::npos;
  }));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(Lock(shared, "another", long_lease));
  EXPECT_NE(raw.command({"INFO", "clients"}).text.find("blocked_clients:1"), std::string::npos);
}

/// What was asked is refused with a word of its own (UNBLOCKED).
TEST_F(LockDurable, LocksAreNotWritableWhereThePrimaryIsDemotedMeanwhile) {
  replica.pause();
  std::jthread demotion([&] {
    eventually([&] {
      return raw.command({"INFO", "clients"}).text.find("blocked_clients:1") != std::string::npos;
    });
    raw.command({"REPLICAOF", "127.0.0.1", "1"});
  });
  const Error error = thrown_by([&] { const Lock lock(client, "job", on_one); });
  EXPECT_EQ(error.code(), Errc::not_writable) << error.what();
  EXPECT_TRUE(error.transient());
  demotion.join();
  raw.command({"REPLICAOF", "NO", "ONE"});
}

TEST_F(LockDurable, LocksMayBeTakenWithoutScripts) {
  Client plain(server.url(), {.connect_timeout = 20s, .command_timeout = 20s, .scripting = false});
  const Lock lock(plain, "job", on_one);
  EXPECT_EQ(raw_replica.get("job"), lock.token());
}

TEST_F(LockDurable, LocksAreGoneWithTheErrorAlsoWhenScriptsAreRefused) {
  raw.command({"ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", "-@scripting"});
  replica.pause();
  // What was asked behind the refused script has to be asked again.
  constexpr auto once = 1500ms;
  Client user("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()),
              {.connect_timeout = 20s, .command_timeout = 1s});
  const Error error = thrown_by([&] {
    const Lock lock(user, "job", {.ttl = 60s, .durability = {.replicas = 1, .timeout = once}});
  });
  EXPECT_EQ(error.code(), Errc::no_quorum) << error.what();
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockDurable, LocksAreDowngradedWithoutWaitingOnceMore) {
  WriteLock writer(client, "job", on_one);
  replica.pause();
  ReadLock reader = writer.downgrade();
  EXPECT_TRUE(reader.verify());
}

TEST_F(LockDurable, LocksMayBeFenced) {
  LockOptions options = on_one;
  options.fencing = true;
  const Lock lock(client, "job", options);
  EXPECT_EQ(raw_replica.get("job:redlatch:fence:{job}"),
            "fence " + std::to_string(lock.fencing_token()));
}

/// The script is refused, and said again behind a question about an older change, which has taken
/// all of the time.
TEST_F(LockDurable, LocksAreRefusedInTheirTimeByAServerThatForgetsTheScript) {
  replica.pause();
  const Error first = thrown_by([&] { const Lock lock(client, "job", hasty); });
  EXPECT_EQ(first.code(), Errc::no_quorum) << first.what();
  raw.command({"SCRIPT", "FLUSH"});
  const LockOptions fenced{
      .ttl = 60s, .fencing = true, .durability = {.replicas = 1, .timeout = 4s}};
  const auto time = duration_of([&] {
    const Error error = thrown_by([&] { const Lock lock(client, "job", fenced); });
    EXPECT_EQ(error.code(), Errc::no_quorum) << error.what();
  });
  EXPECT_LT(time, 7s);
  replica.resume();
}

TEST_F(LockDurable, LocksOnMoreReplicasThanThereAreAreRefused) {
  LockOptions options = hasty;
  options.durability.replicas = 2;
  const Error error = thrown_by([&] { const Lock lock(client, "job", options); });
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_NE(std::string(error.what()).find("1 of 2 replicas"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find("; see INFO replication at the server"),
            std::string::npos)
      << error.what();
}

/// A replica that is in good health and 100 ms away in each direction: one question for each lock,
/// one behind the other, would take at least 6 s on some connection.
class LockDurableFarAway : public ServerTest {
 protected:
  LockDurableFarAway() {
    EXPECT_TRUE(eventually([&] {
      raw.command({"SET", "in step?", "", "PX", "1"});
      return raw.command({"WAIT", "1", "1000"}).integer >= 1;
    }));
    raw.command({"CONFIG", "RESETSTAT"});
  }
  std::vector<std::string> as_replica() {
    raw.command({"CONFIG", "SET", "repl-diskless-sync-delay", "0"});
    return {"--replicaof", "127.0.0.1", std::to_string(link.port())};
  }
  /// How many threads of so many hold a lock that the replica has.
  int held_by(int threads, std::chrono::milliseconds time) {
    Client caller(server.url(), {.connect_timeout = 20s, .command_timeout = 2s});
    std::atomic<int> held = 0;
    std::vector<std::jthread> callers;
    for (int i = 0; i < threads; ++i) {
      callers.emplace_back([&, key = "job:" + std::to_string(i)] {
        const std::error_code error = error_of([&] {
          const Lock lock(caller, key,
                          {.ttl = 60s, .durability = {.replicas = 1, .timeout = time}});
          ++held;
        });
        EXPECT_FALSE(error) << key << ": " << error.message();
      });
    }
    callers.clear();
    return held;
  }

  SlowLink link{server.socket(), 100ms};
  RedisServer replica{as_replica()};
};

TEST_F(LockDurableFarAway, LocksOfManyThreadsAskTogether) {
  EXPECT_EQ(held_by(128, 2s), 128);
  EXPECT_LT(raw.calls("wait"), 64);
}

/// The documentation promises an answer about what the same connection has written before, so that
/// one behind a refused change is worth nothing.
TEST(LockDurableBehindAForgottenScript, LocksAreAskedForAgain) {
  std::vector<std::string> heard;
  ScriptedServer server([&](const ScriptedRequest& request) -> std::string {
    if (!request.is("SCRIPT")) heard.push_back(request.words.front());
    if (request.is("SET")) return resp::ok;
    if (request.is("EVALSHA")) return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    return resp::integer(1);
  });
  {
    Client client(server.url(), patient());
    const Lock lock(client, "job", {.ttl = 60s, .durability = {.replicas = 1, .timeout = 20s}});
    const auto held = server.hold();
    const std::vector<std::string> expected{"SET", "EVALSHA", "WAIT", "EVALSHA", "EVAL", "WAIT"};
    EXPECT_EQ(heard, expected);
  }
}

/// The one with little time is told in time, and the other asks again.
TEST(LockDurableForDifferentTimes, LocksAskTogether) {
  std::atomic<std::size_t> blocked = 0;  // connection
  ScriptedServer server([&](const ScriptedRequest& request) -> std::string {
    if (request.is("EVALSHA")) return resp::integer(1);
    if (!request.is("WAIT")) return resp::ok;
    if (blocked == 0) {
      blocked = request.connection;
      return "";
    }
    return resp::integer(std::stoi(request.words[2]) <= 400 ? 0 : 1);
  });
  ClientOptions options = patient();
  options.connections = 1;
  Client client(server.url(), options);
  const auto outcome = [&](const std::string& key, std::chrono::milliseconds time) {
    return error_of([&] {
      const Lock lock(client, key, {.ttl = 60s, .durability = {.replicas = 1, .timeout = time}});
    });
  };
  std::jthread first([&] { EXPECT_FALSE(outcome("first", 20s)); });
  EXPECT_TRUE(eventually([&] { return blocked != 0; }));
  std::jthread hasty([&] { EXPECT_EQ(outcome("hasty", 300ms), Errc::no_quorum); });
  std::jthread lasting([&] { EXPECT_FALSE(outcome("lasting", 20s)); });
  EXPECT_TRUE(eventually([&] { return server.count("SET") == 3; }));
  client.ping();  // behind the answers to these
  server.say(blocked, resp::integer(1));
}

/// Redis 7.0 has no WAITAOF; later servers and Valkey have.
TEST(LockDurableOnDisk, LocksAreHeldOrRefusedAsTheServerCan) {
  const RedisServer server({"--appendonly", "yes", "--appendfsync", "everysec"});
  RawClient raw(server.socket());
  const bool can = raw.command({"WAITAOF", "0", "0", "0"}).elements.size() == 2;
  Client client(server.url(), patient());
  const LockOptions options{.ttl = 60s, .durability = {.aof = true, .timeout = 20s}};
  const auto locking = error_of([&] {
    Lock lock(client, "job", options);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  });
  EXPECT_EQ(locking, can ? std::error_code() : make_error_code(Errc::unsupported));
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

}  // namespace durability_test
}  // namespace redlatch::test
