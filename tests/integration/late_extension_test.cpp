// What a server carries out long after it was given up promises no more than it did.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "family.hpp"
#include "proxy.hpp"
#include "quorum.hpp"

namespace redlatch::test {
namespace late_extension_test {

/// One who waits behind a proxy, where the refresh of its entry can be held back until it is late.
template <class Classes>
class EveryLockLateRefresh : public FamilyTest<Classes> {
 protected:
  using Holder = typename Classes::Holder;
  using Rival = test::Rival<typename Classes::Waiter>;

  Client waiting_client() {
    Client behind_proxy(proxy.url(), {.connect_timeout = 20s,
                                      .command_timeout = 500ms,
                                      .connections = 1,
                                      .on_event = [this](const Event& event) {
                                        if (event.error == Errc::timed_out) ++timed_out;
                                      }});
    Lock(behind_proxy, "first connected", long_lease).unlock();
    return behind_proxy;
  }
  /// Its answer to the one before has been taken in then.
  bool is_refreshed() {
    const auto before = this->entry(0).expiry;
    return eventually([&] { return this->entry(0).expiry > before; });
  }

  /// The first refresh may have to go out with the text of its script.
  auto scripts_run() { return this->raw.calls("evalsha") + this->raw.calls("eval"); }

  /// On another connection. On a busy machine the entry may be another one by then, or only the
  /// answer to a refresh held back.
  bool is_refreshed_while_one_is_held_back() {
    for (int attempt = 0; attempt < 5; ++attempt) {
      const std::string value = this->entry(0).value;
      const int before = timed_out;
      proxy.stall();
      if (!eventually([&] { return timed_out > before; }) || !is_refreshed()) return false;
      if (this->entry(0).value == value && proxy.holds_requests()) return true;
    }
    return false;
  }

  Proxy proxy{this->server.socket()};
  std::atomic<int> timed_out = 0;
};
TYPED_TEST_SUITE(EveryLockLateRefresh, Pairs, );

TYPED_TEST(EveryLockLateRefresh, LeavesNoLeaseThatCountsForLongerThanItIsKept) {
  this->holder.lock();
  typename TestFixture::Rival waiter(this->waiting_client(), {.ttl = 3s, .auto_renew = false});
  ASSERT_TRUE(this->is_queued(1));
  ASSERT_TRUE(this->is_refreshed());
  ASSERT_TRUE(this->is_refreshed_while_one_is_held_back());
  this->holder.unlock();
  ASSERT_TRUE(waiter.has_it());
  EXPECT_TRUE(waiter.lock.extend(30s));
  const auto calls = this->scripts_run();
  this->proxy.release();
  ASSERT_TRUE(eventually([&] { return this->scripts_run() > calls; })) << "it has come";
  EXPECT_LE(waiter.lock.remaining(), 3s);
  const bool are_two = elsewhere([&] {
    auto rival = deferred<typename TestFixture::Holder>(this->client);
    return rival.try_lock_for(6s) && waiter.lock.owns_lock();
  });
  EXPECT_FALSE(are_two);
}

/// The first of three servers is behind a proxy, where what is sent to it can be held back.
class RedlockLateAtOneOfThreeServers : public QuorumOf<3> {
 protected:
  RedlockLateAtOneOfThreeServers() { proxied[0] = proxy.url(); }

  /// Asks all servers, until the first has answered on a new connection as well: a majority answers
  /// without it.
  bool answers_at_the_proxy(Redlock& lock) {
    if (proxy.connections() <= connections) {
      static_cast<void>(lock.verify());
      return false;
    }
    const std::size_t before = proxy.passed(Proxy::Direction::reply);
    return lock.verify() &&
           eventually([&] { return proxy.passed(Proxy::Direction::reply) > before; }, 100ms);
  }
  /// Until that connection has been given up.
  void hold_back(Redlock& lock) {
    ASSERT_TRUE(eventually([&] { return answers_at_the_proxy(lock); }));
    connections = proxy.connections();
    proxy.stall();
  }
  /// The answer to the question before may be what is held back, so that the connection is given up
  /// before there is a renewal.
  bool holds_a_renewal_back(const Quorum& quorum, Redlock& lock) {
    for (int attempt = 0; attempt < 5; ++attempt) {
      hold_back(lock);
      const auto renewed = quorum.metrics().renewed;
      if (!eventually([&] { return quorum.metrics().renewed > renewed; })) return false;
      if (proxy.holds("\r\n9000\r\n")) return true;
      proxy.release();
      connections = 0;  // the connection may live on
    }
    return false;
  }
  bool is_connected_again(Redlock& lock) {
    return eventually([&] { return lock.verify() && proxy.connections() > connections; });
  }

  Proxy proxy{servers[0]->socket()};
  std::size_t connections = 0;
  std::vector<std::string> proxied = urls;
  ClientOptions options{.connect_timeout = 20s, .command_timeout = 300ms, .connections = 1};
};

/// The last misses the next extension.
TEST_F(RedlockLateAtOneOfThreeServers,
       AnExtensionLeavesNoLeaseThatCountsForLongerThanAMajorityKeepsIt) {
  Quorum quorum(proxied, {.client = options, .server_timeout = 10s});
  Redlock lock(quorum, "job", {.ttl = 60s, .auto_renew = false});
  hold_back(lock);
  ASSERT_TRUE(lock.extend(4s));
  const auto end = std::chrono::steady_clock::now() + 4s;
  ASSERT_TRUE(is_connected_again(lock));
  servers[2]->pause();
  EXPECT_TRUE(lock.extend(30s));
  EXPECT_LE(lock.remaining(), 4s);
  proxy.release();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > end; }));
  servers[2]->resume();
  Quorum others(urls, calm());
  const Redlock rival(others, "job", 60s, long_lease);
  EXPECT_TRUE(rival.owns_lock());
  EXPECT_FALSE(lock.owns_lock()) << lock.remaining().count();
}

/// The ttl is far longer than the first server hears of no renewal: it would say no otherwise.
TEST_F(RedlockLateAtOneOfThreeServers,
       ARenewalLeavesNoLeaseThatCountsForLongerThanAMajorityKeepsIt) {
  Quorum quorum(proxied, {.client = options, .server_timeout = 10s});
  Redlock lock(quorum, "job", {.ttl = 9s});
  ASSERT_TRUE(holds_a_renewal_back(quorum, lock));
  ASSERT_TRUE(is_connected_again(lock));
  servers[2]->pause();
  EXPECT_TRUE(lock.extend(30s));
  EXPECT_LE(lock.remaining(), 9s);
  servers[2]->resume();
  // On a slow machine, the last has been given up: it is certain again with the next renewal, 10 s
  // behind the extension.
  EXPECT_TRUE(eventually([&] { return lock.remaining() > 20s; }, 30s)) << "two are certain again";
}

}  // namespace late_extension_test
}  // namespace redlatch::test
