// Everything that is counted, and told.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <redlatch/detail/executor.hpp>

#include "diary.hpp"
#include "fixture.hpp"

namespace redlatch::test {
namespace metrics_test {

class ClientMetrics : public testing::Test {
 protected:
  ~ClientMetrics() override { client.reset(); }

  Event told(EventKind kind) const {
    EXPECT_TRUE(eventually([&] { return log.find(kind).has_value(); }));
    return log.find(kind).value_or(Event{});
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Diary log{};
  ClientOptions one_connection = [] {
    ClientOptions options = patient();
    options.connections = 1;
    return options;
  }();
  std::optional<Client> client{std::in_place, server.url(), log.options(one_connection)};
};

TEST_F(ClientMetrics, AreALockThatIsTakenAndGivenBack) {
  {
    Lock lock(*client, "job", long_lease);
    EXPECT_EQ(client->metrics().acquired, 1U);
    EXPECT_EQ(client->metrics().held, 1U);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
  const Metrics metrics = client->metrics();
  EXPECT_EQ(metrics.released, 1U);
  EXPECT_EQ(metrics.held, 0U);
  EXPECT_EQ(metrics.connected, 1U);
  EXPECT_EQ(metrics.lost + metrics.contended + metrics.disconnected + metrics.waiting, 0U);
  EXPECT_TRUE(eventually([&] { return log.events().size() == 3; }));
  EXPECT_EQ(log.kinds(),
            (std::vector{EventKind::connected, EventKind::acquired, EventKind::released}));
  EXPECT_EQ(log.events()[0].key, "");
  EXPECT_EQ(log.events()[1].key, "job");
}

TEST_F(ClientMetrics, IsAReleaseThatNobodyWaitsFor) {
  { const Lock lock(*client, "job", long_lease); }
  EXPECT_TRUE(eventually([&] { return client->metrics().released == 1; }));
  const Event event = told(EventKind::released);
  EXPECT_EQ(event.key, "job");
  EXPECT_GT(event.elapsed, 0us);
}

TEST_F(ClientMetrics, AreContentionAndThoseWhoWait) {
  std::optional<Lock> holder(std::in_place, *client, "job", long_lease);
  std::chrono::nanoseconds waited{};
  {
    std::jthread waiter([&] { const Lock lock(*client, "job", {.ttl = 1s}); });
    EXPECT_TRUE(eventually([&] { return client->metrics().waiting == 1; }));
    EXPECT_EQ(client->metrics().contended, 1U);
    const std::int64_t refreshed = raw.calls("lset");
    waited = duration_of([&] {
      EXPECT_TRUE(eventually([&] { return raw.calls("lset") >= refreshed + 2; }))
          << "it refreshes its entry";
    });
    holder.reset();
  }
  EXPECT_GT(waited, 100ms) << "a third of the ttl";
  EXPECT_EQ(client->metrics().waiting, 0U);
  EXPECT_EQ(client->metrics().acquired, 2U);
  EXPECT_EQ(told(EventKind::contended).key, "job");
  EXPECT_TRUE(eventually([&] {
    const std::vector<Event> events = log.events();
    return std::any_of(events.begin(), events.end(), [&](const Event& event) {
      return event.kind == EventKind::acquired && event.elapsed >= waited;
    });
  })) << "the wait is told";
}

TEST_F(ClientMetrics, AreRenewals) {
  const Lock lock(*client, "job", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return client->metrics().renewed >= 2; }));
  EXPECT_EQ(client->metrics().acquired, 1U);
  const Event event = told(EventKind::renewed);
  EXPECT_EQ(event.key, "job");
  EXPECT_GE(event.elapsed, 50ms) << "held so long";
}

TEST_F(ClientMetrics, AreRenewalsThatAreRefused) {
  const Lock lock(*client, "job", {.ttl = 3s});
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  const Event event = told(EventKind::renewal_failed);
  EXPECT_EQ(event.key, "job");
  EXPECT_EQ(event.error, Errc::not_writable);
  EXPECT_GE(client->metrics().renewal_failed, 1U);
  raw.command({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(eventually([&] { return client->metrics().renewed >= 1; }));
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(ClientMetrics, AreRenewalsThatReachNobody) {
  const Lock lock(*client, "job", {.ttl = 3s, .auto_renew = true});
  server.kill();
  const Event event = told(EventKind::renewal_failed);
  EXPECT_EQ(event.error, Errc::unreachable);
}

TEST_F(ClientMetrics, IsALossOnce) {
  Lock lock(*client, "job", {.ttl = 1s});
  raw.command({"DEL", "job"});
  EXPECT_EQ(told(EventKind::lost).key, "job");
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(client->metrics().lost, 1U);
  EXPECT_EQ(client->metrics().held, 0U);
  EXPECT_EQ(client->metrics().released, 0U);
}

TEST_F(ClientMetrics, AreConnectionsThatCloseAndThoseThatFollow) {
  client->ping();
  raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  EXPECT_TRUE(eventually([&] {
    client->ping();
    return client->metrics().connected == 2;
  }));
  EXPECT_EQ(client->metrics().disconnected, 1U);
  EXPECT_EQ(told(EventKind::disconnected).key, "");
}

TEST_F(ClientMetrics, AreConnectionsThatASilentServerMakesUseless) {
  Client hasty(server.url(), {.connect_timeout = 20s, .command_timeout = 100ms});
  hasty.ping();
  server.pause();
  EXPECT_EQ(error_of([&] { hasty.ping(); }), Errc::timed_out);
  EXPECT_TRUE(eventually([&] { return hasty.metrics().disconnected == 1; }));
  server.resume();
}

TEST_F(ClientMetrics, AreTheSameWithoutSomebodyToTell) {
  Client quiet(server.url(), patient());
  for (int i = 0; i < 10; ++i) const Lock lock(quiet, "job:" + std::to_string(i), long_lease);
  EXPECT_TRUE(eventually([&] { return quiet.metrics().released == 10; }));
  EXPECT_EQ(quiet.metrics().acquired, 10U);
}

/// A loss is not lost among events that the callback is too slow for.
TEST_F(ClientMetrics, IsALossBehindTenThousandsOfOtherEvents) {
  std::atomic<bool> busy = true;
  std::atomic<int> good = 0;
  std::atomic<int> lost = 0;
  ClientOptions options = patient();
  options.on_event = [&](const Event& event) {
    eventually([&] { return !busy; }, 60s);
    ++(event.kind == EventKind::lost ? lost : good);
  };
  Client chatty(server.url(), options);
  for (int i = 0; i < 6000; ++i) {
    Lock lock(chatty, "job", long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
  {
    Lock lock(chatty, "job", long_lease);
    raw.command({"DEL", "job"});
    EXPECT_EQ(lock.unlock(), Unlock::lost);
  }
  busy = false;
  EXPECT_TRUE(eventually([&] { return lost == 1; }));
  EXPECT_LT(good, 10'100);
  EXPECT_EQ(chatty.metrics().acquired, 6001U);
}

/// A callback that hangs, with more bad news than it will ever hear: each loss is one event.
TEST_F(ClientMetrics, AreEventsThatAreDroppedWhileACallbackHangs) {
  std::atomic<bool> hangs = true;
  std::atomic<std::uint64_t> told = 0;
  std::atomic<std::uint64_t> lost = 0;
  ClientOptions options = patient();
  options.on_event = [&](const Event& event) {
    eventually([&] { return !hangs; }, 60s);
    if (event.kind == EventKind::lost) ++lost;
    ++told;
  };
  Client chatty(server.url(), options);
  constexpr std::uint64_t losses = 25'000;
  for (std::uint64_t i = 0; i < losses; ++i)
    chatty.executor()->record_event({.kind = EventKind::lost, .key = "job"});
  EXPECT_EQ(chatty.metrics().lost, losses);
  EXPECT_GE(chatty.metrics().events_dropped, losses - 20'001);
  hangs = false;
  EXPECT_TRUE(eventually([&] { return told + chatty.metrics().events_dropped == losses; }));
  EXPECT_LE(lost, 20'001U);
}

TEST_F(ClientMetrics, AreToldInTheOrderInWhichTheyHappened) {
  for (int i = 0; i < 100; ++i) {
    Lock lock(*client, std::to_string(i), long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
  EXPECT_TRUE(eventually([&] { return log.events().size() == 201; }));
  const std::vector<Event> events = log.events();
  for (std::size_t i = 1; i < events.size(); ++i) {
    EXPECT_EQ(events[i].key, std::to_string((i - 1) / 2));
    EXPECT_EQ(events[i].kind, i % 2 == 1 ? EventKind::acquired : EventKind::released);
  }
}

}  // namespace metrics_test
}  // namespace redlatch::test
