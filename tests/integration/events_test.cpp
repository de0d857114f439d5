// The events about releases that no thread has waited for.

#include <algorithm>
#include <atomic>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "diary.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace events_test {

const std::string silence;

class LockLost : public testing::Test {
 protected:
  void is_told_once() {
    const Event event = diary.first();
    EXPECT_EQ(event.kind, EventKind::lost);
    EXPECT_EQ(event.key, "job");
    EXPECT_GE(event.elapsed, 0us);
    EXPECT_EQ(event.error, std::error_code());
    client.reset();  // nothing more comes once it is gone
    EXPECT_EQ(diary.events().size(), 1U);
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  Diary diary{is_bad};
  std::optional<Client> client{std::in_place, server.url(), diary.options()};
};

TEST_F(LockLost, IsToldWhenTheKeyWasDeleted) {
  {
    const Lock lock(*client, "job", long_lease);
    raw.command({"DEL", "job"});
  }
  is_told_once();
}

TEST_F(LockLost, IsToldWhenTheKeyWasTakenOver) {
  {
    const Lock lock(*client, "job", long_lease);
    raw.command({"SET", "job", "a stranger"});
  }
  is_told_once();
  EXPECT_EQ(raw.get("job"), "a stranger");
}

TEST_F(LockLost, IsToldWhenTheKeyIsOfAnotherKind) {
  {
    const Lock lock(*client, "job", long_lease);
    raw.command({"DEL", "job"});
    raw.command({"LPUSH", "job", "work"});
  }
  is_told_once();
}

TEST_F(LockLost, IsToldWhenTheLeaseWasOver) {
  {
    const Lock lock =
        in_time([&] { return Lock(*client, "job", {.ttl = 50ms, .auto_renew = false}); });
    EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  }
  is_told_once();
}

TEST_F(LockLost, IsToldWhenValidityWasOverAlthoughTheServerStillHadTheKey) {
  {
    const Lock lock(*client, "job", {.ttl = 1s, .auto_renew = false});
    raw.command({"PERSIST", "job"});
    ASSERT_TRUE(eventually([&] { return !lock.owns_lock(); }));
  }
  is_told_once();
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockLost, IsToldWhenANewLeaseIsAskedForInTheOldOnesPlace) {
  Lock lock = in_time([&] { return Lock(*client, "job", {.ttl = 50ms, .auto_renew = false}); });
  ASSERT_TRUE(eventually([&] { return !lock.owns_lock(); }));
  EXPECT_TRUE(in_time([&] { return lock.try_lock_for(30s); }));
  EXPECT_EQ(diary.first().kind, EventKind::lost);
}

TEST_F(LockLost, IsToldBeforeTheClientIsGone) {
  {
    const Lock lock(*client, "job", long_lease);
    raw.command({"DEL", "job"});
  }
  client.reset();
  EXPECT_EQ(diary.events().size(), 1U);
}

TEST_F(LockLost, IsToldWhenUnlockSaysSo) {
  Lock lock(*client, "job", long_lease);
  raw.command({"DEL", "job"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  is_told_once();
}

TEST_F(LockLost, IsNotToldAgainByUnlock) {
  Lock lock(*client, "job", {.ttl = 1s});
  raw.command({"DEL", "job"});
  ASSERT_TRUE(eventually([&] { return !diary.events().empty(); }));
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  is_told_once();
}

TEST_F(LockLost, IsToldWhenTheReleaseHadToWaitForAConnection) {
  {
    const Lock lock(*client, "job", long_lease);
    raw.command({"DEL", "job"});
    raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  }
  const Event event = diary.first();
  // The server may have read the first of two releases: then it is not known what became of it.
  EXPECT_TRUE(event.kind == EventKind::lost || event.kind == EventKind::release_unknown);
  EXPECT_EQ(event.key, "job");
}

/// A server that never answers a release.
class LockUnanswered : public testing::Test {
 protected:
  void start(ClientOptions options) { client.emplace(server->url(), diary.options(options)); }
  void is_told_once() {
    const Event event = diary.first();
    EXPECT_EQ(event.kind, EventKind::release_unknown);
    EXPECT_EQ(event.key, "job");
    EXPECT_GE(event.elapsed, 0us);
    EXPECT_TRUE(event.error) << "it says why";
    EXPECT_EQ(event.error.message().find(token), std::string::npos);
    client.reset();
    EXPECT_EQ(diary.events().size(), 1U);
  }
  /// Its release is sent and not answered.
  void hold_for_a_moment(LockOptions options) {
    Lock lock(*client, "job", std::defer_lock, options);
    ASSERT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
    token = lock.token();
  }

  std::optional<ScriptedServer> server{std::in_place, [](const ScriptedRequest& request) {
                                         return request.is("EVALSHA") ? silence : resp::ok;
                                       }};
  Diary diary{is_bad};
  std::optional<Client> client{};
  std::string token{};
};

TEST_F(LockUnanswered, IsToldAtTheEndOfTheTtl) {
  start({.connect_timeout = 20s, .command_timeout = 200ms});
  hold_for_a_moment({.ttl = 1s, .auto_renew = false});
  is_told_once();
}

TEST_F(LockUnanswered, IsToldWhenTheTtlEndsBeforeTheTimeOut) {
  start({.connect_timeout = 20s, .command_timeout = 2s});
  hold_for_a_moment({.ttl = 1s, .auto_renew = false});
  is_told_once();
}

TEST_F(LockUnanswered, IsToldWhenTheClientGoesFirst) {
  start({.connect_timeout = 20s, .command_timeout = 200ms});
  hold_for_a_moment(long_lease);
  client.reset();
  is_told_once();
}

TEST_F(LockUnanswered, IsToldWhenTheServerIsGoneForGood) {
  start({.connect_timeout = 200ms, .command_timeout = 200ms});
  {
    Lock lock(*client, "job", std::defer_lock, {.ttl = 1s, .auto_renew = false});
    ASSERT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
    token = lock.token();
    server.reset();
  }
  is_told_once();
}

/// A refusal to let a client in, of whatever kind, and what it is to the program.
struct Refusal {
  std::string name;
  std::string command;  // refused on connections to come
  std::string text;
  Errc code;

  friend std::ostream& operator<<(std::ostream& out, const Refusal& refusal) {
    return out << refusal.name;
  }
};

/// A server that ends its connections and refuses new ones, as after a changed password.
class ClientCauseOfAnEvent : public testing::TestWithParam<Refusal> {
 protected:
  ClientCauseOfAnEvent() {
    client.emplace("redis://worker:secret@" + server.url().substr(8) + "/3",
                   diary.options({.connect_timeout = 20s, .command_timeout = 2s}));
  }
  void TearDown() override {
    refuses = false;
    client.reset();
  }
  void refuse_all_from_now_on() {
    refuses = true;
    server.close_all();
  }
  bool is_told(EventKind kind) {
    return eventually([&] {
      const std::vector<Event> all = diary.events();
      return std::any_of(all.begin(), all.end(), [&](const Event& event) {
        return event.kind == kind && event.error == GetParam().code;
      });
    });
  }

  std::atomic<bool> refuses = false;
  ScriptedServer server{[this](const ScriptedRequest& request) {
    if (refuses && request.is(GetParam().command)) return resp::error(GetParam().text);
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  }};
  Diary diary{};
  std::optional<Client> client{};
};

TEST_P(ClientCauseOfAnEvent, IsToldOfARenewal) {
  const Lock lock(*client, "job", {.ttl = 3s});
  refuse_all_from_now_on();
  EXPECT_TRUE(is_told(EventKind::renewal_failed));
}

TEST_P(ClientCauseOfAnEvent, IsToldOfAGuardsRelease) {
  {
    const Lock lock(*client, "job", {.ttl = 1s, .auto_renew = false});
    refuse_all_from_now_on();
  }
  EXPECT_TRUE(is_told(EventKind::release_unknown));
}

TEST_P(ClientCauseOfAnEvent, IsToldOfAGuardsReleaseWhenTheClientGoesFirst) {
  {
    const Lock lock(*client, "job", {.ttl = 60s, .auto_renew = false});
    refuse_all_from_now_on();
  }
  // The second attempt comes when the first has failed.
  const auto connections = server.connections();
  ASSERT_TRUE(eventually([&] { return server.connections() >= connections + 2; }));
  client.reset();
  EXPECT_TRUE(is_told(EventKind::release_unknown));
}

TEST_P(ClientCauseOfAnEvent, IsToldOfUnlock) {
  Lock lock(*client, "job", long_lease);
  refuse_all_from_now_on();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_TRUE(is_told(EventKind::release_unknown));
}

INSTANTIATE_TEST_SUITE_P(
    Refusals, ClientCauseOfAnEvent,
    testing::Values(
        Refusal{"ChangedPassword", "AUTH",
                "WRONGPASS invalid username-password pair or user is disabled.",
                Errc::authentication_failed},
        Refusal{"NoPasswordAnyMore", "AUTH",
                "ERR AUTH <password> called without any password configured for the default user.",
                Errc::authentication_failed},
        Refusal{"ProtectedMode", "AUTH", "DENIED Redis is running in protected mode",
                Errc::not_permitted},
        Refusal{"TooManyClients", "AUTH", "ERR max number of clients reached", Errc::unreachable},
        Refusal{"Busy", "AUTH", "BUSY Redis is busy running a script.", Errc::not_writable},
        Refusal{"WrongDatabase", "SELECT", "ERR DB index is out of range", Errc::invalid_argument},
        Refusal{"ForbiddenDatabase", "SELECT",
                "NOPERM this user has no permissions to run the 'select' command",
                Errc::not_permitted},
        Refusal{"BusyWithTheDatabase", "SELECT", "BUSY Redis is busy running a script.",
                Errc::not_writable}),
    [](const auto& given) { return given.param.name; });

TEST(ClientCauseOfAnEventOfAServer, IsAChangedPassword) {
  const RedisServer server({"--requirepass", "secret"});
  RawClient raw(server.socket());
  raw.command({"AUTH", "secret"});
  Diary diary;
  Client client("redis://:secret@127.0.0.1:" + std::to_string(server.port()), diary.options());
  const Lock lock(client, "job", {.ttl = 3s});
  raw.command({"CONFIG", "SET", "requirepass", "another"});
  raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  EXPECT_TRUE(eventually([&] {
    const auto failed = diary.find(EventKind::renewal_failed);
    return failed && failed->error == Errc::authentication_failed;
  }));
}

/// Ends with the client, so that all that could be told has been told.
class ClientNoEvent : public LockLost {
 protected:
  ~ClientNoEvent() override {
    client.reset();
    EXPECT_TRUE(diary.events().empty());
  }
};

TEST_F(ClientNoEvent, OfReleasesThatFoundTheLockHeld) {
  for (int i = 0; i < 100; ++i) const Lock lock(*client, "job:" + std::to_string(i % 7));
}

TEST_F(ClientNoEvent, OfAReleaseThatHadToBeSaidInOtherWords) {
  const Lock lock(*client, "job", long_lease);
  raw.command({"SCRIPT", "FLUSH"});
}

TEST_F(ClientNoEvent, OfUnlockThatFoundTheLockHeld) {
  Lock lock(*client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientNoEvent, OfLocksThatWereNeverHeld) {
  raw.command({"SET", "job", "a stranger"});
  EXPECT_FALSE(Lock(*client, "job", 20ms));
  const Lock deferred(*client, "job", std::defer_lock);
}

/// A server that answers nothing once a test has begun. What `unlock` did not learn is told once,
/// when it returns.
class ClientNoEventOfADoubt : public testing::TestWithParam<int> {};

TEST_P(ClientNoEventOfADoubt, WhoeverHoldsTheKeyByThen) {
  std::atomic<bool> silent = false;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (silent && (request.is("SET") || request.is("EVALSHA"))) return silence;
    return request.is("EVALSHA") ? resp::integer(GetParam()) : resp::ok;
  });
  Diary diary(is_bad);
  {
    Client client(server.url(), diary.options({.connect_timeout = 20s, .command_timeout = 300ms}));
    Lock lock(client, "job", std::defer_lock, long_lease);
    ASSERT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
    silent = true;
    EXPECT_EQ(lock.unlock(), Unlock::unknown);
    EXPECT_TRUE(error_of([&] { lock.lock(); }));
    EXPECT_TRUE(eventually([&] { return server.count("EVALSHA") >= 2; }));
    silent = false;
    server.close_all();
  }
  ASSERT_EQ(diary.events().size(), 1U);
  EXPECT_EQ(diary.events().front().kind, EventKind::release_unknown);
  EXPECT_EQ(diary.events().front().error, Errc::timed_out);
}

INSTANTIATE_TEST_SUITE_P(Answers, ClientNoEventOfADoubt, testing::Values(0, 1));

}  // namespace events_test
}  // namespace redlatch::test
