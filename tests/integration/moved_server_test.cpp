// A name that leads to another server after a failover, while the connections that there are lead
// to the former primary, which is a replica now.

#include <string>
#include <thread>

#include "fixture.hpp"
#include "proxy.hpp"

namespace redlatch::test {
namespace moved_server_test {

class ClientMovedServer : public testing::Test {
 protected:
  ClientMovedServer() {
    raw_after.command({"REPLICAOF", "127.0.0.1", std::to_string(before.port())});
    EXPECT_TRUE(eventually([&] {
      return raw_after.command({"INFO", "replication"}).text.find("master_link_status:up") !=
             std::string::npos;
    }));
  }

  /// What has been written so far is kept.
  void fail_over(const std::string& key) {
    ASSERT_TRUE(eventually([&] { return raw_after.exists(key); }));
    // What the server says of itself is believed on a connection that is new.
    const auto connected = std::chrono::steady_clock::now();
    ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - connected > 200ms; }));
    raw_after.command({"REPLICAOF", "NO", "ONE"});
    name.redirect(after.socket());
    raw_before.command({"REPLICAOF", "127.0.0.1", std::to_string(after.port())});
  }

  RedisServer before{{"--repl-diskless-sync-delay", "0"}};
  RedisServer after{{"--repl-diskless-sync-delay", "0"}};
  RawClient raw_before{before.socket()};
  RawClient raw_after{after.socket()};
  Proxy name{before.socket()};
  Client client{name.url(), {.connect_timeout = 10s, .command_timeout = 5s}};
};

TEST_F(ClientMovedServer, IsFoundByACallInItsTime) {
  Lock lock(client, "job", long_lease);
  fail_over("job");
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(raw_after.exists("job"));
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(raw_after.get("job"), lock.token());
}

TEST_F(ClientMovedServer, IsFoundByEveryConnection) {
  for (int i = 0; i < 16; ++i) const Lock warm_up(client, std::to_string(i));
  Lock lock(client, "job", long_lease);
  fail_over("job");
  for (int i = 0; i < 16; ++i) {
    const Lock moved(client, std::to_string(i), std::try_to_lock, long_lease);
    EXPECT_TRUE(moved.owns_lock());
  }
  EXPECT_TRUE(lock.extend(2min));
  EXPECT_GT(raw_after.pttl("job"), 60'000);
}

TEST_F(ClientMovedServer, IsFoundByRenewalsBeforeTheLeaseIsOver) {
  const Lock lock(client, "job", {.ttl = 3s});
  fail_over("job");
  raw_after.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return raw_after.calls("pexpire") >= 2; }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(client.metrics().lost, 0U);
}

TEST_F(ClientMovedServer, IsFoundByAGuardsRelease) {
  {
    const Lock lock(client, "job", long_lease);
    fail_over("job");
  }
  EXPECT_TRUE(eventually([&] { return !raw_after.exists("job"); }, 3s));
}

TEST_F(ClientMovedServer, IsFoundByThoseWhoWait) {
  Lock holder(client, "job", long_lease);
  Client other(name.url());
  Lock waiting(other, "job", std::defer_lock, long_lease);
  std::thread waiter([&] { waiting.lock(); });
  EXPECT_TRUE(eventually([&] { return other.metrics().contended == 1; }));
  fail_over("job");
  EXPECT_EQ(holder.unlock(), Unlock::released);
  waiter.join();
  EXPECT_EQ(raw_after.get("job"), waiting.token());
}

/// A waiter whose connection leads to a replica would take it for a grant.
TEST_F(ClientMovedServer, SendsNoGrantToItsReplicas) {
  RawClient at_replica(after.socket());
  at_replica.command({"PSUBSCRIBE", "*"});
  Lock holder(client, "job", long_lease);
  Client other(name.url());
  Lock waiting(other, "job", std::defer_lock, long_lease);
  std::thread waiter([&] { waiting.lock(); });
  EXPECT_TRUE(eventually([&] { return raw_before.calls("rpush") == 1; }));
  holder.unlock();
  waiter.join();
  EXPECT_GE(raw_before.calls("publish"), 1);
  raw_before.command({"PUBLISH", "another channel", "the end"});
  EXPECT_EQ(at_replica.next().elements.back().text, "the end");
  EXPECT_TRUE(eventually([&] { return raw_after.get("job") == waiting.token(); }));
}

TEST_F(ClientMovedServer, ThatCannotBeFoundIsAnErrorAndNotAStorm) {
  const Lock lock(client, "job", long_lease);
  raw_before.command({"REPLICAOF", "127.0.0.1", "1"});
  const std::size_t connections = name.connections();
  int attempts = 0;
  const auto time = duration_of([&] {
    for (; attempts < 200; ++attempts) {
      EXPECT_EQ(error_of([&] { const Lock other(client, "other", std::try_to_lock); }),
                Errc::not_writable);
    }
  });
  // On one connection: at most one more every 50 ms, and those of renewals.
  const auto most = static_cast<std::size_t>(time / 50ms) + 2;
  EXPECT_LE(name.connections() - connections, 2 * most);
  raw_before.command({"REPLICAOF", "NO", "ONE"});
}

}  // namespace moved_server_test
}  // namespace redlatch::test
