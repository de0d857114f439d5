// A server that is away for a moment, while callers and renewals share a connection.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "proxy.hpp"

namespace redlatch::test {
namespace outage_renewal_test {

/// The callers wait for the next attempt to connect, the lease cannot.
TEST(LockShortOutage, LosesNoLeaseThatCallersKeepFromConnecting) {
  const RedisServer server;
  RawClient raw(server.socket());
  Proxy proxy(server.socket());
  Client client(proxy.url(), {.connections = 1});
  const Lock lock(client, "job", {.ttl = 3s});
  std::atomic<bool> over = false;
  std::vector<std::thread> callers;
  proxy.redirect("/nowhere");
  proxy.cut();
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&, key = std::to_string(i)] {
      while (!over) {
        static_cast<void>(error_of([&] { const Lock other(client, key, std::try_to_lock); }));
      }
    });
  }
  // The pauses between attempts have grown to their longest by then.
  EXPECT_TRUE(eventually([&] { return lock.remaining() < 1s; }));
  raw.command({"CONFIG", "RESETSTAT"});
  proxy.redirect(server.socket());
  EXPECT_TRUE(eventually([&] { return raw.calls("pexpire") >= 1; }));
  EXPECT_TRUE(lock.owns_lock());
  over = true;
  for (std::thread& caller : callers) caller.join();
}

}  // namespace outage_renewal_test
}  // namespace redlatch::test
