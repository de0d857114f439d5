#include <string>
#include <thread>

#include "fixture.hpp"

namespace redlatch::test {
namespace outages_test {

/// A lock that is held, and another one that is being waited for in a thread.
class LockOutages : public ServerTest {
 protected:
  // The end of a client waits for command_timeout for releases behind a broken connection.
  LockOutages() : ServerTest({.connect_timeout = 10s, .command_timeout = 1s}) {}
  ~LockOutages() override {
    if (waiter_.joinable()) waiter_.join();
  }

  void wait_in_a_thread(std::chrono::nanoseconds time = 1h) {
    begin_waiting(time);
    // What comes now finds a waiter.
    ASSERT_TRUE(somebody_waits());
  }
  void begin_waiting(std::chrono::nanoseconds time) {
    waiter_ =
        std::thread([this, time] { error = error_of([&] { held = waiting.try_lock_for(time); }); });
  }
  void join() { waiter_.join(); }

  bool refuses(const std::string& kind) {
    return eventually([&] { return raw.errors(kind) > 0; });
  }

  Lock holder{client, "job", long_lease};
  Lock waiting{client, "job", std::defer_lock, long_lease};
  bool held = false;
  std::error_code error{};

 private:
  std::thread waiter_{};
};

TEST_F(LockOutages, AtTheFirstAttemptAreThrown) {
  server.kill();
  EXPECT_EQ(error_of([&] { waiting.lock(); }), Errc::unreachable);
  EXPECT_EQ(error_of([&] { static_cast<void>(waiting.try_lock_for(1h)); }), Errc::unreachable);
  EXPECT_EQ(error_of([&] { static_cast<void>(waiting.try_lock()); }), Errc::unreachable);
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job"); }), Errc::unreachable);
  EXPECT_EQ(error_of([&] { client.ping(); }), Errc::unreachable);
  server.start();
}

TEST_F(LockOutages, ByARestartAreRiddenOutByAWaiter) {
  wait_in_a_thread();
  server.kill();
  server.start();
  join();
  EXPECT_EQ(error, std::error_code());
  EXPECT_TRUE(held);
  EXPECT_EQ(RawClient(server.socket()).get("job"), waiting.token());
}

TEST_F(LockOutages, ByAReadOnlyServerAreRiddenOutByAWaiter) {
  wait_in_a_thread();
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  EXPECT_TRUE(refuses("READONLY"));
  raw.command({"REPLICAOF", "NO", "ONE"});
  EXPECT_EQ(holder.unlock(), Unlock::released);
  join();
  EXPECT_TRUE(held);
  EXPECT_EQ(raw.get("job"), waiting.token());
}

/// One that asks again and again: a place in a queue needs no more memory.
TEST_F(LockOutages, ByAFullServerAreRiddenOutByAWaiter) {
  ClientOptions options = patient();
  options.scripting = false;
  Client asking(server.url(), options);
  waiting = Lock(asking, "job", std::defer_lock, long_lease);
  begin_waiting(1h);
  ASSERT_TRUE(eventually([&] { return asking.metrics().contended == 1; }));
  raw.command({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_TRUE(refuses("OOM"));
  raw.command({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(holder.unlock(), Unlock::released);
  join();
  EXPECT_TRUE(held);
}

TEST_F(LockOutages, ByAStoppedServerAreRiddenOutByAWaiter) {
  Client hasty(server.url(), {.connect_timeout = 500ms, .command_timeout = 500ms});
  waiting = Lock(hasty, "job", std::defer_lock, long_lease);
  wait_in_a_thread();
  server.pause();
  EXPECT_EQ(error_of([&] { hasty.ping(); }), Errc::unreachable);
  EXPECT_EQ(error_of([&] { hasty.ping(); }), Errc::unreachable);
  server.resume();
  EXPECT_EQ(holder.unlock(), Unlock::released);
  join();
  EXPECT_EQ(error, std::error_code());
  EXPECT_TRUE(held);
}

TEST_F(LockOutages, ThatLastUntilTheDeadlineAreThrownThen) {
  wait_in_a_thread(2s);
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  join();
  EXPECT_EQ(error, Errc::not_writable);
  EXPECT_FALSE(held);
  EXPECT_GE(raw.errors("READONLY"), 1);
  raw.command({"REPLICAOF", "NO", "ONE"});
}

TEST_F(LockOutages, OfPermissionAreThrownByAWaiterAtOnce) {
  wait_in_a_thread();
  raw.command({"ACL", "SETUSER", "default", "-set", "-lpos"});
  join();
  EXPECT_EQ(error, Errc::not_permitted);
  EXPECT_EQ(raw.get("job"), holder.token());
}

}  // namespace outages_test
}  // namespace redlatch::test
