// What Sentinels say that are strange: a test says it for them.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "child.hpp"
#include "diary.hpp"
#include "fixture.hpp"
#include "scripted_sentinel.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace strange_sentinel_test {

/// Long enough for a failover on a busy machine.
const LockOptions long_enough{.ttl = 2min};

std::string text_of(const Error& error) { return error.what(); }

TEST(ClientStrangeSentinel, MayNameSentinelsThatCannotBeTranslated) {
  RedisServer server;
  const ScriptedSentinel sentinel(server.port());
  ClientOptions options = patient();
  options.map_address = only_loopback;
  Client client(sentinel.url(), options);
  EXPECT_FALSE(error_of([&] { client.ping(); }));
}

/// The background thread begins before it is known where to connect to, and nothing wakes it up
/// afterwards: no lock is renewed, and no release is sent.
TEST(ClientStrangeSentinel, IsListenedToBehindAFirstCallThatAcquiresNothing) {
  RedisServer server;
  Client other(server.url(), patient());
  const Lock held(other, "job", long_enough);
  const ScriptedSentinel sentinel(server.port());
  ClientOptions options = patient();
  options.map_address = only_loopback;
  options.credentials = [] {
    std::this_thread::sleep_for(50ms);  // the thread has begun, most probably
    return Credentials{"default", "any"};
  };
  Client client(sentinel.url(), options);
  EXPECT_FALSE(Lock(client, "job", std::try_to_lock, long_enough));
  EXPECT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
}

TEST(ClientStrangeSentinel, MayRepeatItselfWithoutAStormOfConnections) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  ClientOptions options = patient();
  options.map_address = only_loopback;
  Client client(sentinel.url(), options);
  Lock lock(client, "job", long_enough);
  ASSERT_TRUE(eventually([&] { return sentinel.is_listened_to(); }));
  const std::size_t before = sentinel.connections();
  const auto time = duration_of([&] {
    for (int i = 0; i < 1000; ++i) {
      sentinel.tell_of_failover();
      static_cast<void>(error_of([&] { static_cast<void>(lock.verify()); }));  // or not_writable
    }
  });
  // Twice in each tenth of a second: when it is heard, and at the end of that.
  const auto tenths = static_cast<std::size_t>(time / 100ms) + 1;
  EXPECT_LE(sentinel.connections() - before, 4 * tenths + 4);
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
  EXPECT_TRUE(lock.owns_lock());
}

/// The primary is a replica now, and the Sentinel names another server, which is away.
TEST(ClientStrangeSentinel, IsQuotedBesideTheFormerPrimary) {
  RedisServer server;
  RawClient raw(server.socket());
  ScriptedSentinel sentinel(server.port());
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(sentinel.url(), options);
  const Lock lock(client, "job", long_enough);
  // What the server says of itself is believed on a connection that is new.
  ASSERT_TRUE(passes(200ms));
  const std::uint16_t other = free_port();
  sentinel.learn(other, "2");
  raw.command({"REPLICAOF", "127.0.0.1", "1"});
  std::string text;
  // The client waits for Sentinels for a moment only before it goes on with what it knows.
  EXPECT_TRUE(eventually([&] {
    const Error error = thrown_by([&] { const Lock next(client, "next", std::try_to_lock); });
    text = error.what();
    return error.code() == Errc::unreachable;
  }));
  for (const std::string& part : {"the primary of orders is 127.0.0.1:" + std::to_string(other),
                                  "; before that, from 127.0.0.1:" + std::to_string(server.port()) +
                                      ": the server said \"READONLY "}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
  raw.command({"REPLICAOF", "NO", "ONE"});
}

/// All Sentinels are replaced one by one while the client has no reason to ask them, and a failover
/// follows.
TEST(ClientStrangeSentinel, IsReplacedByOneThatItTellsOf) {
  RedisServer server;
  RedisServer promoted;
  std::optional<ScriptedSentinel> named(std::in_place, server.port());
  const ScriptedSentinel next(promoted.port(), "2");
  Client client(named->url(), patient());
  Lock lock(client, "job", long_enough);
  ASSERT_TRUE(eventually([&] { return named->is_pinged_by_listener(); }));
  named->tell_of(next);
  ASSERT_TRUE(eventually([&] { return named->has_told_of_other(); }));
  named.reset();
  server.kill();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
  EXPECT_TRUE(eventually([&] { return next.is_listened_to(); }));
}

constexpr int all_questions = 1 << 20;

/// Between the message of a failover and the answer who the primary is, the client knows none: it
/// does not go back to the former primary.
TEST(ClientStrangeSentinel, IsWaitedForBehindItsMessageOfAFailover) {
  RedisServer former;
  RedisServer promoted;
  Client other(promoted.url(), patient());
  const Lock held(other, "job", long_enough);
  ScriptedSentinel sentinel(former.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  Client client(sentinel.url(),
                diary.options({.connect_timeout = 500ms, .command_timeout = 500ms}));
  client.ping();
  ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
  sentinel.lose_questions(all_questions);
  sentinel.learn(promoted.port(), "2");
  sentinel.tell_of_switch();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  Lock lock(client, "job", std::defer_lock, long_enough);
  for (int i = 0; i < 3; ++i) {
    const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
    EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
    EXPECT_NE(text_of(error).find("127.0.0.1:" + sentinel.port() + " has told of a failover"),
              std::string::npos)
        << error.what();
  }
  sentinel.lose_questions(0);
  bool is_held = false;
  EXPECT_TRUE(eventually([&] { return !error_of([&] { is_held = lock.try_lock(); }); }));
  EXPECT_FALSE(is_held);
}

/// It says what the failover was, and no more: the former primary is not believed again.
class ClientStrangeSentinelThatEnds : public testing::TestWithParam<bool> {};

TEST_P(ClientStrangeSentinelThatEnds, LeavesThePrimaryUnknownBehindItsMessageOfAFailover) {
  RedisServer former;
  RedisServer promoted;
  std::optional<ScriptedSentinel> sentinel(std::in_place, former.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  Client client(sentinel->url(),
                diary.options({.connect_timeout = 500ms, .command_timeout = 500ms}));
  client.ping();
  ASSERT_TRUE(eventually([&] { return sentinel->is_pinged_by_listener(); }));
  if (GetParam()) {
    sentinel->forget_service();
  } else {
    sentinel->lose_questions(all_questions);
  }
  sentinel->learn(promoted.port(), "2");
  sentinel->tell_of_switch();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  if (!GetParam()) sentinel.reset();
  const Error error =
      thrown_by([&] { const Lock lock(client, "job", 4s, {.ttl = 2min, .ride_out = true}); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  for (const char* text : {" has told of a failover of orders, and has not answered yet",
                           GetParam() ? "it does not know the service" : "cannot connect"}) {
    EXPECT_NE(text_of(error).find(text), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(, ClientStrangeSentinelThatEnds, testing::Bool(), [](const auto& its) {
  return its.param ? "ForgetsTheService" : "IsAway";
});

/// It is away behind its message, and the other one does not know it any more.
TEST(ClientStrangeSentinel, HasToldOfAFailoverAlthoughItHasLeftSince) {
  RedisServer server;
  ScriptedSentinel named(server.port());
  ScriptedSentinel learned(server.port());
  named.tell_of(learned);
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  ClientOptions options = diary.options({.connect_timeout = 500ms, .command_timeout = 500ms});
  options.map_address = only_loopback;
  Client client(named.url(), options);
  client.ping();
  ASSERT_TRUE(eventually([&] { return learned.is_pinged_by_listener(); }));
  learned.lose_questions(all_questions);
  named.know_no_other();
  learned.tell_of_failover();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  const Error error = thrown_by([&] { const Lock lock(client, "job", std::try_to_lock); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
}

/// It cannot be asked twice in the time to connect.
TEST(ClientStrangeSentinel, MayBeFarAwayAndNotListenedTo) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  sentinel.refuse_subscriptions();
  sentinel.be_slow(200ms);
  Client client(sentinel.url(), {.connect_timeout = 1200ms, .command_timeout = 5s});
  client.ping();
}

/// A program's function hangs, and the server is well.
TEST(ClientStrangeSentinel, IsNotAskedAgainAndAgainWhereItsAnswerIsNeverTranslated) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  sentinel.refuse_subscriptions();
  // The threads that are in the function may outlive the client.
  struct Translation {
    std::promise<void> end{};
    std::shared_future<void> ended = end.get_future().share();
    std::atomic<bool> hangs = false;
    std::atomic<int> hung = 0;
  };
  const auto translation = std::make_shared<Translation>();
  ClientOptions options{.connect_timeout = 500ms, .command_timeout = 500ms};
  options.connections = 1;
  options.map_address = [translation](const Address& address) {
    if (translation->hangs && ++translation->hung > 0) translation->ended.wait();
    return only_loopback(address);
  };
  Client client(sentinel.url(), options);
  client.ping();
  translation->hangs = true;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(passes(1100ms));
    EXPECT_TRUE(eventually([&] { return !error_of([&] { client.ping(); }); }));
  }
  EXPECT_LE(translation->hung, 2);
  translation->end.set_value();
}

/// The other one has not heard of the failover, and would have within two seconds.
TEST(ClientStrangeSentinel, IsNotWaitedForLongIfItEndsBehindItsMessage) {
  RedisServer server;
  std::optional<ScriptedSentinel> first(std::in_place, server.port());
  const ScriptedSentinel second(server.port());
  Diary diary([](const Event& event) { return event.kind == EventKind::disconnected; });
  Client client(
      "redis-sentinel://127.0.0.1:" + first->port() + ",127.0.0.1:" + second.port() + "#orders",
      diary.options(patient()));
  client.ping();
  ASSERT_TRUE(eventually([&] { return first->is_pinged_by_listener(); }));
  first->lose_questions(all_questions);
  first->tell_of_failover();
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  first.reset();
  client.ping();
}

/// A failover while the client did not listen, and the one question behind that gets lost.
TEST(ClientStrangeSentinel, IsAskedAgainIfItOwesAnAnswer) {
  RedisServer former;
  RedisServer promoted;
  RawClient raw(former.socket());
  ScriptedSentinel sentinel(former.port());
  ClientOptions options{.connect_timeout = 500ms, .command_timeout = 500ms};
  options.client_name = "listener";
  Client client(sentinel.url(), options);
  client.ping();
  ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
  ASSERT_FALSE(raw.clients("listener").empty());
  sentinel.lose_questions(1);
  sentinel.learn(promoted.port(), "2");
  sentinel.hang_up();
  EXPECT_TRUE(eventually([&] { return raw.clients("listener").empty(); }));
}

/// No Sentinel can be listened to, and the server was silent for longer than a failover takes.
TEST(ClientStrangeSentinel, IsAskedBeforeAServerIsBelievedIfItIsNotListenedTo) {
  RedisServer former;
  RedisServer promoted;
  Client other(promoted.url(), patient());
  const Lock held(other, "job", long_enough);
  ScriptedSentinel sentinel(former.port());
  sentinel.refuse_subscriptions();
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(sentinel.url(), options);
  client.ping();
  ASSERT_TRUE(passes(1100ms));
  sentinel.learn(promoted.port(), "2");
  Lock lock(client, "job", std::defer_lock, long_enough);
  bool is_held = false;
  EXPECT_TRUE(eventually([&] {
    const bool is_asked = !error_of([&] { is_held |= lock.try_lock(); });
    return is_asked || is_held;
  }));
  EXPECT_FALSE(is_held);
}

/// Three Sentinels tell of it, one of them twice. Their messages name the server as it is called
/// before `map_address`.
TEST(ClientStrangeSentinel, MakesConnectionsObsoleteOnceInAFailoverThatAllTellOf) {
  RedisServer server;
  RedisServer promoted;
  std::deque<ScriptedSentinel> sentinels;
  std::string url = "redis-sentinel://";
  for (int i = 0; i < 3; ++i) {
    url += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + sentinels.emplace_back(server.port()).port();
  }
  Diary diary([](const Event& event) { return event.kind == EventKind::connected; });
  ClientOptions options = diary.options(patient());
  options.connections = 1;
  options.map_address = [](const Address& address) -> Address {
    return {"localhost", only_loopback(address).port};
  };
  Client client(url + "#orders", options);
  client.ping();
  for (const ScriptedSentinel& one : sentinels) {
    EXPECT_TRUE(eventually([&] { return one.is_pinged_by_listener(); }));
  }
  for (ScriptedSentinel& one : sentinels) one.learn(promoted.port(), "2");
  sentinels.front().tell_of_promotion();
  const auto leads_to_promoted = [&] {
    static_cast<void>(error_of([&] { client.ping(); }));
    return !diary.events().empty() &&
           diary.events().back().detail.find(std::to_string(promoted.port())) != std::string::npos;
  };
  ASSERT_TRUE(eventually(leads_to_promoted));
  const std::size_t before = diary.events().size();
  for (ScriptedSentinel& one : sentinels) {
    const std::size_t pings = one.pings();
    one.tell_of_switch();
    EXPECT_TRUE(eventually([&] { return one.pings() >= pings + 2; }));
    EXPECT_FALSE(error_of([&] { client.ping(); }));
  }
  EXPECT_EQ(diary.events().size(), before);
}

/// Each client has a connection to each Sentinel that it listens to.
TEST(ClientStrangeSentinel, IsOneOfEightThatAreListenedTo) {
  RedisServer server;
  std::deque<ScriptedSentinel> sentinels;
  std::string url = "redis-sentinel://";
  for (int i = 0; i < 10; ++i) {
    url += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + sentinels.emplace_back(server.port()).port();
  }
  ClientOptions options = patient();
  options.map_address = only_loopback;
  Client client(url + "#orders", options);
  client.ping();
  const auto count = [&](bool (ScriptedSentinel::*has)() const) {
    return std::ranges::count_if(sentinels, [&](const auto& one) { return (one.*has)(); });
  };
  EXPECT_TRUE(eventually([&] { return count(&ScriptedSentinel::is_pinged_by_listener) == 8; }));
  EXPECT_EQ(count(&ScriptedSentinel::is_listened_to), 8);
  for (ScriptedSentinel& one : sentinels) {
    if (!one.is_listened_to()) continue;
    one.hang_up();
    break;
  }
  EXPECT_TRUE(eventually([&] { return count(&ScriptedSentinel::is_listened_to) == 9; }));
}

/// A process that is stopped while a Sentinel tells of a failover: it goes on when a server that
/// has been replaced says something to it. It hears that first, although the Sentinel has more to
/// say.
class StoppedClientOfAStrangeSentinel : public testing::Test {
 protected:
  struct State {
    std::atomic<int> port = 0;  // of the Sentinel
    std::atomic<bool> is_held = false;
  };

  /// Acquires "job" and holds it.
  void acquire() {
    EXPECT_TRUE(eventually([&] { return state->port != 0; }));
    ClientOptions options = patient();
    options.map_address = only_loopback;
    options.client_name = "stopped";
    Client own("redis-sentinel://127.0.0.1:" + std::to_string(state->port) + "#orders", options);
    const Lock lock(own, "job", 40s, long_enough);
    state->is_held = lock.owns_lock();
    eventually([] { return false; }, 1min);
  }
  void fail_over(ScriptedSentinel& sentinel) {
    child.stop();
    sentinel.learn(promoted.port(), "2");
    sentinel.tell_of_others();
    sentinel.tell_of_switch();
  }
  /// It asks for the lock there in vain, and not at the former primary.
  void expect_to_wait_at_promoted() {
    RawClient raw(promoted.socket());
    EXPECT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
    EXPECT_FALSE(state->is_held);
  }

  /// The lock has a holder at each of the two servers. `fail_over` stops the process, and has the
  /// former primary grant it the lock.
  void expect_to_believe_no_grant(
      ScriptedSentinel& sentinel,
      const std::function<void(const std::function<void()>& grant)>& fail_over) {
    Client one(former.url(), patient());
    Client other(promoted.url(), patient());
    std::optional<Lock> before(std::in_place, one, "job", long_enough);
    const Lock now(other, "job", long_enough);
    state->port = std::stoi(sentinel.port());
    RawClient raw(former.socket());
    ASSERT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
    ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
    fail_over([&] {
      EXPECT_EQ(before->unlock(), Unlock::released);
      EXPECT_TRUE(raw.exists("job")) << "it is granted";
    });
    child.go_on();
    expect_to_wait_at_promoted();
    EXPECT_TRUE(now.owns_lock());
  }

  RedisServer former{};
  RedisServer promoted{};
  const SharedMemory<State> state{};
  const Child child{[this] { acquire(); }};
};

TEST_F(StoppedClientOfAStrangeSentinel, BelievesNoGrantOfAFormerPrimary) {
  ScriptedSentinel sentinel(former.port());
  expect_to_believe_no_grant(sentinel, [&](const auto& grant) {
    fail_over(sentinel);
    grant();
  });
}

TEST_F(StoppedClientOfAStrangeSentinel, BelievesNoFormerPrimaryThatItConnectsTo) {
  ScriptedSentinel sentinel(former.port());
  Client other(promoted.url(), patient());
  const Lock now(other, "job", long_enough);
  RawClient raw(former.socket());
  former.pause();
  state->port = std::stoi(sentinel.port());
  ASSERT_TRUE(eventually([&] { return sentinel.is_pinged_by_listener(); }));
  fail_over(sentinel);
  former.resume();
  ASSERT_TRUE(eventually([&] { return !raw.clients("stopped").empty(); }));
  child.go_on();
  expect_to_wait_at_promoted();
  EXPECT_TRUE(now.owns_lock());
}

TEST_F(StoppedClientOfAStrangeSentinel, BelievesNoGrantOfAFormerPrimaryBehindABreakOfItsListening) {
  ScriptedSentinel sentinel(former.port());
  expect_to_believe_no_grant(sentinel, [&](const auto& grant) {
    child.stop();
    sentinel.learn(promoted.port(), "2");
    sentinel.tell_of_others();  // the end is behind that
    sentinel.hang_up();
    grant();
  });
}

/// Nothing says that the connection has ended on which it has listened.
TEST_F(StoppedClientOfAStrangeSentinel,
       BelievesNoGrantOfAFormerPrimaryBehindASilenceOfTheSentinel) {
  ScriptedSentinel sentinel(former.port());
  expect_to_believe_no_grant(sentinel, [&](const auto& grant) {
    child.stop();
    grant();
    sentinel.lose_listener();
    ASSERT_TRUE(passes(2s));
    sentinel.learn(promoted.port(), "2");
  });
}

/// It was stopped before it could listen.
TEST_F(StoppedClientOfAStrangeSentinel, BelievesNoFormerPrimaryThatItConnectsToWithoutListening) {
  ScriptedSentinel sentinel(former.port());
  sentinel.refuse_subscriptions();
  Client other(promoted.url(), patient());
  const Lock now(other, "job", long_enough);
  RawClient raw(former.socket());
  former.pause();
  state->port = std::stoi(sentinel.port());
  ASSERT_TRUE(eventually([&] { return sentinel.has_told_of_other(); }));
  ASSERT_TRUE(passes(200ms));
  child.stop();
  sentinel.learn(promoted.port(), "2");
  former.resume();
  ASSERT_TRUE(eventually([&] { return !raw.clients("stopped").empty(); }));
  child.go_on();
  expect_to_wait_at_promoted();
  EXPECT_TRUE(now.owns_lock());
}

struct StopOfAsker {
  std::size_t sentinels;
  std::chrono::milliseconds stop;
  std::chrono::milliseconds connect_timeout = 1s;
};

/// A process of its own, which none of the Sentinels lets listen, and which is stopped while it
/// asks them whether a primary is to be believed that has granted it the lock.
class StoppedClientThatAsksStrangeSentinels : public testing::TestWithParam<StopOfAsker> {
 protected:
  using Clock = std::chrono::steady_clock;  // one for all processes of a machine

  struct State {
    std::array<char, 128> url{};
    std::atomic<bool> begins = false;
    std::atomic<bool> is_connected = false;
    std::atomic<bool> goes_on = false;
    std::atomic<bool> is_done = false;
    std::atomic<bool> is_held = false;
    std::atomic<Clock::time_point> done_at{};
  };

  void acquire() {
    EXPECT_TRUE(eventually([&] { return state->begins.load(); }));
    Client own(
        state->url.data(),
        {.connect_timeout = GetParam().connect_timeout, .command_timeout = 20s, .connections = 1});
    EXPECT_TRUE(eventually([&] { return !error_of([&] { own.ping(); }); }));
    state->is_connected = true;
    EXPECT_TRUE(eventually([&] { return state->goes_on.load(); }));
    Lock lock(own, "job", std::defer_lock, long_enough);
    static_cast<void>(error_of([&] { state->is_held = lock.try_lock(); }));
    state->done_at = Clock::now();
    state->is_done = true;
    eventually([] { return false; }, 1min);
  }
  std::size_t connections() const {
    std::size_t all = 0;
    for (const ScriptedSentinel& one : sentinels) all += one.connections();
    return all;
  }

  RedisServer former{};
  RedisServer promoted{};
  const SharedMemory<State> state{};
  const Child child{[this] { acquire(); }};
  std::deque<ScriptedSentinel> sentinels{};
};

INSTANTIATE_TEST_SUITE_P(Stops, StoppedClientThatAsksStrangeSentinels,
                         testing::Values(StopOfAsker{1, 1500ms}, StopOfAsker{3, 500ms},
                                         StopOfAsker{3, 950ms}, StopOfAsker{3, 1500ms},
                                         StopOfAsker{1, 180ms, 100ms},
                                         StopOfAsker{3, 150ms, 100ms}),
                         [](const auto& test) {
                           return "Of" + std::to_string(test.param.sentinels) + "For" +
                                  std::to_string(test.param.stop.count());
                         });

/// The one, or two of three, have heard of the failover. The third has not, and is the first to
/// answer.
TEST_P(StoppedClientThatAsksStrangeSentinels, BelievesNoFormerPrimaryAsTheyHadNoTimeToAnswer) {
  const std::size_t count = GetParam().sentinels;
  const std::chrono::milliseconds stop = GetParam().stop;
  std::string url = "redis-sentinel://";
  for (std::size_t i = 0; i < count; ++i) {
    ScriptedSentinel& one = sentinels.emplace_back(former.port());
    one.know_no_other();
    one.refuse_subscriptions();
    url += (i == 0 ? "127.0.0.1:" : ",127.0.0.1:") + one.port();
  }
  (url + "#orders").copy(state->url.data(), state->url.size() - 1);
  state->begins = true;
  ASSERT_TRUE(eventually([&] { return state->is_connected.load(); }));
  ASSERT_TRUE(passes(1100ms));  // its answer is trusted for a second
  Client other(promoted.url(), patient());
  const Lock now(other, "job", long_enough);
  for (std::size_t i = count / 2; i < count; ++i) {
    sentinels[i].learn(promoted.port(), "2");
    sentinels[i].be_slow(30ms);
  }
  const std::size_t when_all_are_asked = connections() + count;
  state->goes_on = true;
  ASSERT_TRUE(eventually([&] { return connections() >= when_all_are_asked; }));
  child.stop();
  ASSERT_TRUE(passes(stop));
  const auto went_on = Clock::now();
  child.go_on();
  ASSERT_TRUE(eventually([&] { return state->is_done.load(); }, 30s));
  EXPECT_TRUE(RawClient(former.socket()).exists("job")) << "it was granted";
  EXPECT_TRUE(now.owns_lock());
  // On a busy machine, it was done before it was stopped, or the time that they have was over. A
  // stop that is too short to be noticed is a part of it.
  const Clock::duration late = state->done_at.load() - went_on;
  const Clock::duration their_time = stop < 200ms ? 400ms - stop : 400ms;
  EXPECT_TRUE(!state->is_held || late < 0s || late >= their_time) << late.count();
}

}  // namespace strange_sentinel_test
}  // namespace redlatch::test
