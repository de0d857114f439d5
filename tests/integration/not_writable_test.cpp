#include <filesystem>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <redlatch/protocol/recursive.hpp>
#include <redlatch/protocol/shared.hpp>

#include "fixture.hpp"

namespace redlatch::test {
namespace not_writable_test {

/// A server, and who helps to hinder it.
struct Site {
  explicit Site(const std::vector<std::string>& settings) : server(settings) {}
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;
  ~Site() {
    server.kill();
    if (script.joinable()) script.join();
  }

  RedisServer server;
  RawClient raw{server.socket()};
  std::thread script{};
};

/// A state in which a server is there and does not write, and the way into it and out of it.
struct Hindrance {
  std::string name;
  std::vector<std::string> settings;
  void (*begin)(Site&);
  void (*end)(Site&);

  friend std::ostream& operator<<(std::ostream& out, const Hindrance& hindrance) {
    return out << hindrance.name;
  }
};

void become_replica(Site& site) { site.raw.command({"REPLICAOF", "127.0.0.1", "1"}); }
void become_master(Site& site) { site.raw.command({"REPLICAOF", "NO", "ONE"}); }

bool save(RawClient& raw) {
  raw.command({"BGSAVE"});
  EXPECT_TRUE(eventually([&] { return raw.info("persistence", "rdb_bgsave_in_progress:") == 0; }));
  return raw.command({"INFO", "persistence"}).text.find("rdb_last_bgsave_status:ok") !=
         std::string::npos;
}

/// The snapshot cannot take its place where a directory is.
std::string obstacle(const Site& site) { return site.server.directory() + "/dump.rdb"; }

void fail_to_save(Site& site) {
  std::filesystem::create_directory(obstacle(site));
  EXPECT_FALSE(save(site.raw));
}
void save_again(Site& site) {
  std::filesystem::remove(obstacle(site));
  EXPECT_TRUE(save(site.raw));
}

void miss_replicas(Site& site) {
  site.raw.command({"CONFIG", "SET", "min-replicas-to-write", "1"});
}
void do_without_replicas(Site& site) {
  site.raw.command({"CONFIG", "SET", "min-replicas-to-write", "0"});
}

void run_an_endless_script(Site& site) {
  site.script = std::thread([socket = site.server.socket()] {
    try {
      RawClient(socket).command({"EVAL", "while true do end", "0"});
    } catch (const std::runtime_error&) {
      // The server has gone.
    }
  });
  EXPECT_TRUE(eventually([&] { return site.raw.command({"PING"}).text.starts_with("BUSY"); }));
}
void end_the_script(Site& site) {
  site.raw.command({"SCRIPT", "KILL"});
  EXPECT_TRUE(eventually([&] { return site.raw.command({"PING"}).text == "PONG"; }));
}

// A replica that may be written to, since READONLY would come before MASTERDOWN.
const std::vector<Hindrance> hindrances{
    {"READONLY", {}, become_replica, become_master},
    {"MASTERDOWN",
     {"--replica-serve-stale-data", "no", "--replica-read-only", "no"},
     become_replica,
     become_master},
    {"MISCONF", {"--save", "3600 1"}, fail_to_save, save_again},
    {"NOREPLICAS", {}, miss_replicas, do_without_replicas},
    {"BUSY", {"--lua-time-limit", "100"}, run_an_endless_script, end_the_script},
};

class LockNotWritable : public testing::TestWithParam<Hindrance> {
 protected:
  void begin() { GetParam().begin(site); }
  void end() { GetParam().end(site); }

  Site site{GetParam().settings};
  RawClient& raw = site.raw;
  Client client{site.server.url(), patient()};
};

INSTANTIATE_TEST_SUITE_P(Server, LockNotWritable, testing::ValuesIn(hindrances),
                         [](const auto& test) { return test.param.name; });

TEST_P(LockNotWritable, IsThrownByAnAcquisitionWithoutDoubt) {
  Lock lock(client, "job", std::defer_lock);
  begin();
  const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
  EXPECT_EQ(error.code(), Errc::not_writable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find(GetParam().name), std::string::npos) << error.what();
  end();
  EXPECT_TRUE(lock.try_lock());
}

TEST_P(LockNotWritable, IsThrownAlsoOnAConnectionThatExisted) {
  Lock lock(client, "job");
  lock.unlock();
  begin();
  EXPECT_EQ(error_of([&] { lock.lock(); }), Errc::not_writable);
  end();
  EXPECT_TRUE(lock.try_lock());
}

TEST_P(LockNotWritable, IsThrownByExtendWhichKeepsTheLock) {
  Lock lock(client, "job", long_lease);
  begin();
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend()); }), Errc::not_writable);
  EXPECT_TRUE(lock.owns_lock());
  end();
  EXPECT_TRUE(lock.extend());
}

TEST_P(LockNotWritable, LeavesAReleaseOpenUntilTheServerCanWriteAgain) {
  Lock lock(client, "job", long_lease);
  begin();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_FALSE(lock.owns_lock());
  end();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_P(LockNotWritable, LeavesAReleaseOpenAlsoWithoutScripting) {
  ClientOptions options = patient();
  options.scripting = false;
  Client without(site.server.url(), options);
  Lock lock(without, "job", long_lease);
  begin();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  end();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_P(LockNotWritable, IsRiddenOutByAWaiter) {
  Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  std::thread waiter([&] { lock.lock(); });
  EXPECT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
  begin();
  EXPECT_EQ(holder.unlock(), Unlock::unknown);
  end();
  waiter.join();
  EXPECT_TRUE(lock.verify());
}

/// A read-only server that never had the key cannot know that it is free.
TEST(LockOnAReadOnlyReplica, DoesNotSettleAReleaseByNotHavingTheKey) {
  Site site({});
  Client client(site.server.url(), patient());
  Lock lock(client, "job", long_lease);
  site.raw.command({"DEL", "job"});
  become_replica(site);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  become_master(site);
}

/// The same of locks with several holders: no answer about a value that is not there counts.
TEST(EveryLockOnAReadOnlyReplica, IsNotJudgedByIt) {
  Site site({});
  const std::string other = "w1 11111111-2222-4333-8444-555555555555";
  site.raw.command({"ZADD", "job", "99999999999999", other});
  become_replica(site);
  for (const protocol::Script* script :
       {&protocol::acquire_shared_script, &protocol::extend_shared_script,
        &protocol::release_shared_script, &protocol::count_script}) {
    const RawReply reply =
        site.raw.command({"EVAL", std::string(script->text), "3", "job", "queue", "fence",
                          "w2 21111111-2222-4333-8444-555555555555", "60000"});
    EXPECT_TRUE(reply.text.starts_with("READONLY")) << reply.text << " from\n" << script->text;
  }
  become_master(site);
}

TEST(LockOutOfMemory, IsNotWritableForAnAcquisitionOnly) {
  const RedisServer server;
  RawClient raw(server.socket());
  Client client(server.url(), patient());
  Lock lock(client, "job", long_lease);
  Lock other(client, "job:2", std::defer_lock);
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  const Error error = thrown_by([&] { other.lock(); });
  EXPECT_EQ(error.code(), Errc::not_writable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  raw.command({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_TRUE(other.try_lock());
}

/// A server that takes about a second to read its data when it starts.
class LockLoading : public testing::Test {
 protected:
  void fill_and_restart() {
    RawClient raw(server.socket());
    raw.command({"EVAL", "for i = 1, 1500 do redis.call('SET', 'filler:' .. i, i) end", "0"});
    ASSERT_EQ(raw.command({"SAVE"}).text, "OK");
    server.kill();
    server.start();
    ASSERT_TRUE(RawClient(server.socket()).command({"PING"}).text.starts_with("LOADING"));
  }

  bool is_over() {
    RawClient raw(server.socket());
    return eventually([&] { return raw.command({"PING"}).text == "PONG"; }, 60s);
  }

  RedisServer server{
      {"--key-load-delay", "700", "--loading-process-events-interval-bytes", "1024"}};
  // The end of a client waits for command_timeout for releases behind a broken connection.
  Client client{server.url(), {.connect_timeout = 20s, .command_timeout = 2s}};
};

TEST_F(LockLoading, IsNotWritableWithoutDoubt) {
  Lock lock(client, "job", std::defer_lock);
  fill_and_restart();
  const Error error = thrown_by([&] { lock.lock(); });
  EXPECT_EQ(error.code(), Errc::not_writable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  ASSERT_TRUE(is_over());
  EXPECT_TRUE(lock.try_lock());
}

TEST_F(LockLoading, LeavesAReleaseOpenUntilItIsOver) {
  Lock lock(client, "job", long_lease);
  fill_and_restart();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  ASSERT_TRUE(is_over());
  RawClient raw(server.socket());
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(LockLoading, IsRiddenOutByAWaiter) {
  const Lock holder(client, "job", long_lease);
  Lock lock(client, "job", std::defer_lock);
  RawClient raw(server.socket());
  std::thread waiter([&] { lock.lock(); });
  EXPECT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
  fill_and_restart();
  ASSERT_TRUE(is_over());
  RawClient(server.socket()).command({"DEL", "job"});
  waiter.join();
  EXPECT_TRUE(lock.owns_lock());
}

}  // namespace not_writable_test
}  // namespace redlatch::test
