#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "child.hpp"
#include "filter_proxy.hpp"
#include "fixture.hpp"
#include "proxy.hpp"

namespace redlatch::test {
namespace cancelling_test {

class LockCancelling : public ServerTest {
 protected:
  Lock holder{client, "job", long_lease};
};

TEST_F(LockCancelling, EndsAWaitWithoutBound) {
  std::stop_source stop;
  std::atomic<bool> held = true;
  std::thread waiter([&] {
    Lock lock(client, "job", std::defer_lock);
    held = lock.lock(stop.get_token());
  });
  EXPECT_TRUE(somebody_waits()) << "it waits";
  stop.request_stop();
  waiter.join();
  EXPECT_FALSE(held);
  EXPECT_EQ(raw.get("job"), holder.token());
}

/// The pause between two attempts ends with it.
TEST_F(LockCancelling, DoesNotWaitForTheHoldersLease) {
  std::stop_source stop;
  Lock lock(client, "job", std::defer_lock);
  std::jthread canceller([&] {
    somebody_waits();
    stop.request_stop();
  });
  const auto time = duration_of([&] { EXPECT_FALSE(lock.try_lock_for(10min, stop.get_token())); });
  EXPECT_LT(time, 30s);
}

/// At each of the commands that a wait consists of, before it is answered: those by which a client
/// logs in, the attempt, the subscription, the entry, and two refreshes.
TEST_F(LockCancelling, LeavesClientAndLockUsable) {
  auto stop = std::make_unique<std::stop_source>();
  int left = 0;  // commands until the stop; of the proxy's thread
  FilterProxy proxy(server.socket(), [&](const ScriptedRequest&) -> std::optional<std::string> {
    if (--left == 0) stop->request_stop();
    return std::nullopt;
  });
  for (int step = 1; step <= 14; ++step) {
    SCOPED_TRACE("at command " + std::to_string(step));
    Client own(proxy.url(), single());
    Lock lock(own, "job", std::defer_lock);
    {
      const auto held = proxy.hold();
      stop = std::make_unique<std::stop_source>();
      left = step;
    }
    EXPECT_FALSE(lock.lock(stop->get_token()));
    own.ping();
    EXPECT_EQ(holder.unlock(), Unlock::released);
    EXPECT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_TRUE(holder.try_lock());
  }
}

TEST_F(LockCancelling, EndsManyWaitsAtOnce) {
  std::stop_source stop;
  std::atomic<int> ended = 0;
  std::vector<std::jthread> waiters;
  for (int i = 0; i < 16; ++i) {
    waiters.emplace_back([&] {
      Lock lock(client, "job", std::defer_lock);
      EXPECT_FALSE(lock.lock(stop.get_token()));
      ++ended;
    });
  }
  EXPECT_TRUE(eventually([&] { return client.metrics().waiting == 16; }));
  EXPECT_EQ(ended, 0);
  stop.request_stop();
  EXPECT_TRUE(eventually([&] { return ended == 16; }));
}

/// A server that does not answer the log-in, and a call that a stop ends meanwhile.
class ClientConnecting : public testing::Test {
 protected:
  void stop_while_connecting(Lock& lock) {
    proxy.arm({Proxy::Direction::reply, 0, Proxy::Manner::stall});
    std::stop_source stop;
    const std::jthread canceller([&] {
      EXPECT_TRUE(eventually([&] { return proxy.struck(); }));
      stop.request_stop();
    });
    EXPECT_FALSE(lock.lock(stop.get_token()));
    EXPECT_EQ(proxy.connections(), 1U);
  }

  RedisServer server{};
  Proxy proxy{server.socket()};
};

/// Else calls that are stopped one after the other would each begin anew, and none would ever reach
/// a server that takes longer to log in to; nor would renewals.
TEST_F(ClientConnecting, GoesOnBehindACallThatIsStopped) {
  Client client(proxy.url(), single());
  Lock lock(client, "job", std::defer_lock);
  stop_while_connecting(lock);
  proxy.release();
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(proxy.connections(), 1U);
}

TEST_F(ClientConnecting, IsLeftToTheParentByAForkedChild) {
  Client client(proxy.url(), single());
  Lock lock(client, "job", std::defer_lock);
  stop_while_connecting(lock);
  EXPECT_EQ(in_child([&] { return Lock(client, "mail").owns_lock() ? 0 : 1; }), 0);
  EXPECT_EQ(proxy.connections(), 2U);
  proxy.release();
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(proxy.connections(), 2U);
}

TEST_F(ClientConnecting, EndsAfterConnectTimeoutAlsoWhenCallsAreStopped) {
  Client client(proxy.url(), {.connect_timeout = 500ms, .command_timeout = 20s, .connections = 1});
  Lock lock(client, "job", std::defer_lock);
  stop_while_connecting(lock);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { EXPECT_TRUE(lock.try_lock()); }); }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(proxy.connections(), 2U);
}

}  // namespace cancelling_test
}  // namespace redlatch::test
