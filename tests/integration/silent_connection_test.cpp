// A connection whose packets are dropped, as by a firewall that has forgotten it, while the server
// answers on every new one.

#include <array>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "fixture.hpp"
#include "proxy.hpp"

namespace redlatch::test {
namespace silent_connection_test {

/// Maximum time for which a key may be held after its lock was released.
constexpr auto bound = 3s;

/// Its time-outs are short, which a busy machine may exceed.
void warm_up(Client& client) {
  EXPECT_TRUE(eventually([&] { return !error_of([&] { const Lock lock(client, "warm-up"); }); }));
}

class ClientSilentConnection : public testing::Test {
 protected:
  ClientSilentConnection() { warm_up(client); }
  ~ClientSilentConnection() override { proxy.release(); }

  /// Nothing passes on the newest connection from now on.
  void fall_silent() {
    ASSERT_TRUE(eventually([&] { return !raw.exists("warm-up"); }));
    proxy.arm_newest({Proxy::Direction::request, 0, Proxy::Manner::stall});
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Proxy proxy{server.socket()};
  Client client{proxy.url(), {.connections = 1}};
};

class ClientSilentConnectionWithTtl : public ClientSilentConnection,
                                      public testing::WithParamInterface<std::chrono::seconds> {};

INSTANTIATE_TEST_SUITE_P(Ttl, ClientSilentConnectionWithTtl, testing::Values(12s, 30s, 3600s),
                         [](const auto& test) { return std::to_string(test.param.count()); });

TEST_P(ClientSilentConnectionWithTtl, DoesNotKeepAGuardsRelease) {
  std::optional<Lock> lock(std::in_place, client, "job", LockOptions{.ttl = GetParam()});
  fall_silent();
  lock.reset();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
}

TEST_P(ClientSilentConnectionWithTtl, DoesNotKeepAReleaseThatWasWaitedFor) {
  Lock lock(client, "job", {.ttl = GetParam()});
  fall_silent();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
}

TEST_P(ClientSilentConnectionWithTtl, DoesNotKeepWhatWasAcquiredInDoubt) {
  proxy.hold();
  std::thread caller([&] {
    EXPECT_EQ(error_of([&] { const Lock lock(client, "job", LockOptions{.ttl = GetParam()}); }),
              Errc::timed_out);
  });
  EXPECT_TRUE(eventually([&] { return raw.exists("job"); }));
  proxy.arm_newest({Proxy::Direction::request, 0, Proxy::Manner::stall});
  caller.join();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
}

TEST_F(ClientSilentConnection, ThatSpeaksAgainAfterAllLeavesNothingHeld) {
  fall_silent();
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", long_lease); }), Errc::timed_out);
  raw.command({"CONFIG", "RESETSTAT"});
  proxy.release();
  EXPECT_TRUE(eventually([&] { return raw.calls("set") == 1 && !raw.exists("job"); }));
}

/// The acquisition arrives at last, and the release behind it never does.
TEST_F(ClientSilentConnection, ThatEndsBehindALateAcquisitionLeavesNothingHeld) {
  fall_silent();
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", LockOptions{.ttl = 1h}); }),
            Errc::timed_out);
  raw.command({"CONFIG", "RESETSTAT"});
  const std::string acquisition = "*6\r\n$3\r\nSET\r\n$3\r\njob\r\n$36\r\n" + std::string(36, 'x') +
                                  "\r\n$2\r\nNX\r\n$2\r\nPX\r\n$7\r\n3600000\r\n";
  // Others use the client meanwhile, so that the new connection is the newest.
  const std::size_t before = proxy.connections();
  proxy.arm_oldest({Proxy::Direction::request, acquisition.size(), Proxy::Manner::reset});
  proxy.release();
  EXPECT_TRUE(eventually([&] { return raw.calls("set") == 1; }));
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
  EXPECT_GE(proxy.connections(), before);
}

/// A release takes a transaction, and cannot be sent behind the acquisition. On the new connections
/// the key is not found, before the acquisition arrives.
TEST(ClientSilentConnectionWithoutScripts, ThatSpeaksAgainLateLeavesNothingHeld) {
  const RedisServer server(only_watch());
  RawClient raw(server.socket());
  Proxy proxy(server.socket());
  Client client(proxy.url(), {.command_timeout = 100ms, .connections = 1, .scripting = false});
  warm_up(client);
  ASSERT_TRUE(eventually([&] { return !raw.exists("warm-up"); }));
  raw.command({"CONFIG", "RESETSTAT"});
  proxy.arm_newest({Proxy::Direction::request, 0, Proxy::Manner::stall});
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", LockOptions{.ttl = 1h}); }),
            Errc::timed_out);
  EXPECT_TRUE(eventually([&] { return raw.calls("watch") >= 5; }))
      << "no answer is final while the acquisition may still arrive";
  proxy.release();
  EXPECT_TRUE(eventually([&] { return raw.calls("set") == 1; }));
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
}

TEST_F(ClientSilentConnection, LosesNoLeaseThatIsRenewed) {
  const Lock lock(client, "job", {.ttl = 3s});
  fall_silent();
  const auto renewed = [&] { return raw.calls("pexpire"); };
  raw.command({"CONFIG", "RESETSTAT"});
  EXPECT_TRUE(eventually([&] { return renewed() >= 2; }, bound));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(client.metrics().lost, 0U);
}

TEST_F(ClientSilentConnection, DoesNotKeepACancelledWaiterInTheQueue) {
  Lock holder(client, "job", long_lease);
  Client other(proxy.url(), {.connections = 1});
  Lock waiting(other, "job", std::defer_lock, long_lease);
  std::stop_source stop;
  bool held = true;
  std::thread waiter([&] { held = waiting.lock(stop.get_token()); });
  EXPECT_TRUE(eventually([&] { return other.metrics().waiting == 1; }));
  EXPECT_TRUE(eventually(
      [&] { return raw.info("clients", "pubsub_clients:") > 0 || raw.calls("rpush") > 0; }));
  fall_silent();
  stop.request_stop();
  waiter.join();
  EXPECT_FALSE(held);
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
}

TEST_F(ClientSilentConnection, OfOneOfSeveralServersKeepsNothingOfARedlock) {
  RedisServer second;
  RedisServer third;
  RawClient(second.socket()).command({"SET", "job", "a stranger"});
  RawClient(third.socket()).command({"SET", "job", "a stranger"});
  Quorum nodes({proxy.url(), second.url(), third.url()}, {.client = {.connections = 1}});
  { const Redlock warm_up(nodes, "warm-up", std::try_to_lock); }
  proxy.hold();
  std::thread caller([&] {
    const Redlock lock(nodes, "job", std::try_to_lock, {.ttl = 1h});
    EXPECT_FALSE(lock.owns_lock());
  });
  EXPECT_TRUE(eventually([&] { return raw.calls("set") > 0; }));
  proxy.arm_newest({Proxy::Direction::request, 0, Proxy::Manner::stall});
  caller.join();
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }, bound));
}

}  // namespace silent_connection_test
}  // namespace redlatch::test
