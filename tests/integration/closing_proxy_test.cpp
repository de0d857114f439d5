// A proxy that closes a connection at a command that it does not know.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "contender.hpp"
#include "fake_resolver.hpp"
#include "filter_proxy.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace closing_proxy_test {

class ClientOfAClosingProxy : public testing::Test {
 protected:
  ClientOfAClosingProxy() {
    closes_at({"CLIENT", "COMMAND", "INFO", "SCRIPT", "SUBSCRIBE", "WATCH"});
  }

  void closes_at(std::set<std::string> names) {
    proxy.set([names = std::move(names)](const ScriptedRequest& request) {
      return names.contains(request.name()) ? std::optional(std::string()) : std::nullopt;
    });
  }
  void closes_at(const char* name, int times) {
    proxy.set([name, left = times](const ScriptedRequest& request) mutable {
      if (!request.is(name) || left == 0) return std::optional<std::string>();
      --left;
      return std::optional(std::string());
    });
  }
  static ClientOptions one_connection() {
    ClientOptions options = less_patient();
    options.connections = 1;
    return options;
  }
  std::size_t connections() const { return proxy.front().connections(); }
  std::size_t count(const char* name) const { return proxy.front().count(name); }

  RedisServer server{};
  RawClient raw{server.socket()};
  FilterProxy proxy{server.socket(), [](const ScriptedRequest&) { return std::nullopt; }};
};

TEST_F(ClientOfAClosingProxy, IsGreetedOnceMoreWithoutWhatIsOptional) {
  ClientOptions options = one_connection();
  options.client_name = "named";
  Client client(proxy.url(), options);
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(connections(), 2U);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(connections(), 2U);
}

TEST_F(ClientOfAClosingProxy, IsRemembered) {
  ClientOptions options = less_patient();
  Client client(proxy.url(), options);
  for (int i = 0; i < 20; ++i) const Lock lock(client, "job:" + std::to_string(i), long_lease);
  EXPECT_LE(connections(), 1 + options.connections);
  EXPECT_EQ(count("SCRIPT"), 1U);
}

/// Nothing is left out because of a server that is away.
TEST_F(ClientOfAClosingProxy, IsNotSeenInAServerThatClosesEveryConnection) {
  closes_at({"SCRIPT", "PING"});
  Client client(proxy.url(), one_connection());
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job"); }), Errc::unreachable);
  const std::size_t before = count("SCRIPT");
  closes_at({});
  EXPECT_EQ(Lock(client, "job", long_lease).unlock(), Unlock::released);
  EXPECT_GT(count("SCRIPT"), before);
}

TEST_F(ClientOfAClosingProxy, IsNotAskedForAPasswordTwice) {
  closes_at({"AUTH"});
  Client client("redis://:s3cret@" + proxy.url().substr(8), one_connection());
  const Error error = thrown_by([&] { const Lock lock(client, "job"); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("AUTH"), std::string::npos) << error.what();
  EXPECT_EQ(std::string(error.what()).find("s3cret"), std::string::npos) << error.what();
}

TEST_F(ClientOfAClosingProxy, IsNotAskedForMessagesAgainAndAgain) {
  Client client(proxy.url(), one_connection());
  std::optional<Lock> holder(std::in_place, client, "job", long_lease);
  Contender contender(Client(proxy.url(), one_connection()));
  ASSERT_TRUE(contender.is_told_to_wait());
  const std::size_t asked = count("SET");
  EXPECT_TRUE(eventually([&] { return count("SET") > asked + 30; }, 60s));
  EXPECT_LE(count("SUBSCRIBE"), 6U) << "with doubling pauses, until three seconds are over";
  EXPECT_EQ(count("CLIENT"), 1U);
  EXPECT_LE(connections(), 2U + 2U + 7U);
  holder.reset();
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ClientOfAClosingProxy, ThatLetsMessagesThroughIsAskedForThemWithoutChanges) {
  closes_at({"CLIENT", "SCRIPT"});
  Client client(proxy.url(), one_connection());
  Lock holder(client, "job", long_lease);
  Contender contender(Client(proxy.url(), one_connection()));
  EXPECT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }));
  EXPECT_EQ(count("SUBSCRIBE"), 1U);
  EXPECT_EQ(holder.unlock(), Unlock::released);
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ClientOfAClosingProxy, IsNamedWithTheCommandThatIsNeeded) {
  closes_at({"EVALSHA"});
  Client client(proxy.url(), one_connection());
  Lock lock(client, "job", long_lease);
  const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_NE(std::string(error.what()).find("EVALSHA"), std::string::npos) << error.what();
  closes_at({});
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

class RedlockThroughAClosingProxy : public ClientOfAClosingProxy {
 protected:
  static QuorumOptions calm() { return {.client = one_connection(), .server_timeout = 10s}; }
};

TEST_F(RedlockThroughAClosingProxy, CountsOneServerOnceAfterAClosingAtInfo) {
  closes_at("INFO", 1);
  Quorum nodes({server.url(), proxy.url() + "/1", "redis://127.0.0.1:1"}, calm());
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock()); }), Errc::invalid_argument);
  }
}

TEST_F(RedlockThroughAClosingProxy, DoesWithoutInfoAfterTwoClosings) {
  closes_at({"INFO"});
  Quorum nodes({proxy.url()}, calm());
  EXPECT_EQ(Redlock(nodes, "job", long_lease).unlock(), Unlock::released);
  EXPECT_EQ(count("INFO"), 2U);
  EXPECT_EQ(connections(), 3U);
}

TEST_F(RedlockThroughAClosingProxy, IsBackAfterAnOutage) {
  closes_at({"INFO", "PING"});
  Quorum nodes({proxy.url()}, calm());
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock()); }), Errc::unreachable);
  }
  closes_at({"INFO"});
  EXPECT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }, 30s));
}

class FairLockThroughAClosingProxy : public ClientOfAClosingProxy {
 protected:
  Client other{server.url(), less_patient()};
  FairLock holder{other, "job", long_lease};
  Client client{proxy.url(), one_connection()};
  FairLock waiter{client, "job", std::defer_lock, long_lease};
};

TEST_F(FairLockThroughAClosingProxy, WaitsOnAfterClosingsAtSubscribe) {
  closes_at("SUBSCRIBE", 3);
  std::jthread thread([&] { EXPECT_NO_THROW(waiter.lock()); });
  EXPECT_TRUE(eventually([&] { return raw.exists("job:redlatch:queue:{job}"); }, 30s));
  EXPECT_EQ(holder.unlock(), Unlock::released);
  thread.join();
  EXPECT_TRUE(waiter);
}

TEST_F(FairLockThroughAClosingProxy, NamesSubscribeAtTheEndOfABoundedWait) {
  closes_at({"SUBSCRIBE"});
  const Error error = thrown_by([&] { static_cast<void>(waiter.try_lock_for(2s)); });
  EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
  EXPECT_NE(std::string(error.what()).find("SUBSCRIBE"), std::string::npos) << error.what();
}

TEST_F(FairLockThroughAClosingProxy, WaitsNotForeverWhereSubscribeIsAlwaysClosed) {
  closes_at({"SUBSCRIBE"});
  const Error error = thrown_by([&] { waiter.lock(); });
  EXPECT_EQ(error.code(), Errc::not_permitted) << error.what();
  EXPECT_NE(std::string(error.what()).find("SUBSCRIBE"), std::string::npos) << error.what();
  EXPECT_GT(count("SUBSCRIBE"), 3U);
}

/// COMMAND and WATCH are not sent again and again in place of scripts.
TEST_F(ClientOfAClosingProxy, OfAServerWithoutScriptsIsUnsupported) {
  raw.command({"ACL", "SETUSER", "default", "-@scripting"});
  Client client(proxy.url(), one_connection());
  Lock lock(client, "job", long_lease);
  // At COMMAND, and twice at WATCH, of which once may be the end of a server.
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend()); }), Errc::unreachable);
  }
  // WATCH is tried again once a second.
  const auto begun = std::chrono::steady_clock::now();
  const std::size_t before = count("WATCH");
  for (int i = 0; i < 10; ++i) {
    const std::size_t watched = count("WATCH");
    const std::error_code error = error_of([&] { static_cast<void>(lock.extend()); });
    EXPECT_EQ(error, count("WATCH") == watched ? Errc::unsupported : Errc::unreachable);
  }
  const auto time = std::chrono::steady_clock::now() - begun;
  EXPECT_LE(count("WATCH"), before + static_cast<std::size_t>(time / 1s));
  raw.command({"ACL", "SETUSER", "default", "+@all"});
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientOfAClosingProxy, WithoutScriptingIsUnsupported) {
  ClientOptions options = one_connection();
  options.scripting = false;
  Client client(proxy.url(), options);
  Lock lock(client, "job", long_lease);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend()); }), Errc::unreachable);
  }
  const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
  EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
  EXPECT_NE(std::string(error.what()).find("WATCH"), std::string::npos) << error.what();
  EXPECT_EQ(count("EVALSHA") + count("EVAL") + count("SCRIPT"), 0U);
}

/// What closes every connection is asked for no more than what is needed in between, however many
/// addresses its name has, since it may be back as a proxy that wants no more.
TEST(ClientOfTwoAddressesOfAProxy, IsBackAfterAnOutage) {
  std::atomic<bool> is_away = true;
  ScriptedServer* self = nullptr;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (!is_away && !request.is("SCRIPT"))
      return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
    self->close_after_answer();
    return std::string();
  });
  {
    const auto held = server.hold();
    self = &server;
  }
  const FakeResolver two({"127.0.0.1", "127.0.0.1"});
  ClientOptions options = less_patient();
  options.connections = 1;
  const std::string url = server.url();
  Client client("redis://" + std::string(FakeResolver::name) + url.substr(url.rfind(':')), options);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(error_of([&] { const Lock lock(client, "job"); }), Errc::unreachable);
  }
  is_away = false;
  EXPECT_TRUE(eventually([&] { return !error_of([&] { const Lock lock(client, "job"); }); }, 30s));
}

/// Which once may have been the end of a server, however often there was another one before.
TEST(ClientOfAServerThatEndsNowAndThen, SubscribesAgain) {
  ScriptedServer* self = nullptr;
  std::size_t subscribed = 0;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("SUBSCRIBE") && ++subscribed % 2 == 1) {
      self->close_after_answer();
      return std::string();
    }
    if (request.is("SET")) return resp::nil;
    if (request.is("EVALSHA")) return resp::integer(8'000'002);  // behind others
    if (request.is("PTTL")) return resp::integer(60'000);
    if (!request.is("SUBSCRIBE")) return request.is("TYPE") ? resp::status("string") : resp::ok;
    return resp::array({resp::bulk("subscribe"), resp::bulk(request.words[1]), resp::integer(1)});
  });
  {
    const auto held = server.hold();
    self = &server;
  }
  Contender contender(Client(server.url(), less_patient()));
  ASSERT_TRUE(contender.is_told_to_wait());
  EXPECT_TRUE(eventually([&] { return server.count("EVALSHA") > 0; }, 30s));
  EXPECT_EQ(server.count("SUBSCRIBE"), 2U);
  server.close_all();
  EXPECT_TRUE(eventually([&] { return server.count("SUBSCRIBE") == 4; }, 30s));
  contender.cancel();
}

}  // namespace closing_proxy_test
}  // namespace redlatch::test
