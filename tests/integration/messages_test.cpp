// The connection for messages to those who wait.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stop_token>
#include <string>
#include <thread>

#include "contender.hpp"
#include "proxy.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace messages_test {

class ClientMessages : public ServerQueueTest {
 protected:
  Proxy proxy{server.socket()};
};

/// The server goes on sending messages, which do not arrive.
TEST_F(ClientMessages, ThatDoNotArriveShowThatTheConnectionIsHalfOpen) {
  Client deaf(proxy.url(), {.connect_timeout = 20s, .command_timeout = 1s});
  Lock lock(deaf, "job", std::defer_lock, long_lease);
  const auto end = std::chrono::steady_clock::now() + 30s;
  for (int round = 0; deaf.metrics().disconnected == 0; ++round) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::jthread waiter([&] { lock.lock(); });
    ASSERT_TRUE(is_queued(1));
    if (round == 0) proxy.hold();
    holder.unlock();
    waiter.join();
    EXPECT_TRUE(lock.owns_lock()) << "it asks at its time, too";
    lock.unlock();
    holder.lock();
  }
}

TEST(ClientMessagesOfASilentServer, DoNotKeepAWaitThatIsStoppedFromEnding) {
  const ScriptedServer server([](const ScriptedRequest& request) {
    if (request.is("SET")) return resp::nil;
    if (request.is("CLIENT")) return std::string();  // as the first of what a new listener says
    return resp::ok;
  });
  Client client(server.url(), {.connect_timeout = 1h, .command_timeout = 1h});
  std::atomic<bool> ended = false;
  std::jthread waiter([&](const std::stop_token& stop) {
    Lock lock(client, "job", std::defer_lock, long_lease);
    EXPECT_FALSE(lock.lock(stop));
    ended = true;
  });
  ASSERT_TRUE(eventually([&] { return server.count("CLIENT") == 1; }));
  waiter.request_stop();
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
  if (!ended) std::abort();
}

}  // namespace messages_test
}  // namespace redlatch::test
