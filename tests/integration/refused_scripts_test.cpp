// Services refuse scripts in words of their own.

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "family.hpp"
#include "filter_proxy.hpp"
#include "scripts.hpp"

namespace redlatch::test {
namespace refused_scripts_test {

using Answer = std::optional<std::string>;

bool is_script(const ScriptedRequest& request) {
  return request.is("EVAL") || request.is("EVALSHA") || request.is("SCRIPT");
}

/// Of what takes the place of scripts. DELIFEQ is not sent to a server that does not tell of it.
bool is_another_way(const ScriptedRequest& request) {
  return request.is("COMMAND") || request.is("WATCH") || request.is("MULTI") || request.is("EXEC");
}

std::string in_lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// What three services say.
Answer not_for_this_account(const ScriptedRequest& request) {
  if (!is_script(request)) return std::nullopt;
  return resp::error("ERR command " + in_lower_case(request.name()) +
                     " not support for your account");
}
Answer unsupported_command(const ScriptedRequest& request) {
  if (!is_script(request)) return std::nullopt;
  return resp::error("unsupported command '" + in_lower_case(request.name()) + "'");
}
Answer not_available(const ScriptedRequest& request) {
  if (!is_script(request)) return std::nullopt;
  return resp::error("ERR Command is not available: '" + request.name() + "'");
}

class EveryLockScriptsOfAService : public testing::Test {
 protected:
  EveryLockScriptsOfAService() { set({}); }
  void set(const FilterProxy::Filter& filter) {
    proxy.set(filter ? filter : [](const ScriptedRequest&) { return Answer(); });
  }

  RedisServer server{};
  RawClient raw{server.socket()};
  FilterProxy proxy{server.socket(), [](const ScriptedRequest&) { return Answer(); }};
};

class LockScriptsRefusedInOtherWords : public EveryLockScriptsOfAService,
                                       public testing::WithParamInterface<FilterProxy::Filter> {
 protected:
  LockScriptsRefusedInOtherWords() { set(GetParam()); }

  Client client{proxy.url(), less_patient()};
};

INSTANTIATE_TEST_SUITE_P(Services, LockScriptsRefusedInOtherWords,
                         testing::Values(not_for_this_account, unsupported_command, not_available));

TEST_P(LockScriptsRefusedInOtherWords, AreDoneWithoutByALock) {
  live_one_life(client, raw, long_lease);
}

TEST_P(LockScriptsRefusedInOtherWords, KeepNoKeyLockedBehindAGuard) {
  { const Lock guard(client, "job", long_lease); }
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_P(LockScriptsRefusedInOtherWords, AreDoneWithoutByRenewals) {
  Lock lock(client, "job", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= 1; }));
  EXPECT_EQ(client.metrics().lost, 0U);
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_P(LockScriptsRefusedInOtherWords, AreDoneWithoutByAWait) {
  std::optional<Lock> holder(std::in_place, client, "job", long_lease);
  Contender contender(Client(proxy.url(), patient()));
  ASSERT_TRUE(contender.is_told_to_wait());
  holder.reset();
  EXPECT_TRUE(contender.has_it());
}

/// So that a service is not asked again and again what it does not answer.
TEST_P(LockScriptsRefusedInOtherWords, AreAskedForOncePerConnection) {
  ClientOptions options = less_patient();
  options.connections = 1;
  Client single(proxy.url(), options);
  for (int i = 0; i < 10; ++i) {
    Lock lock(single, "job:" + std::to_string(i), long_lease);
    EXPECT_TRUE(lock.extend());
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
  EXPECT_EQ(proxy.front().count("EVAL"), 1U);
}

template <class L>
class EveryLockScriptsOnly : public EveryLockScriptsOfAService {};
using Members = testing::Types<FairLock, ReadLock, WriteLock, RecursiveLock, Permit, MultiLock>;
TYPED_TEST_SUITE(EveryLockScriptsOnly, Members, );

TYPED_TEST(EveryLockScriptsOnly, AreUnsupportedWhereScriptsAreRefused) {
  for (const auto& refuse : {not_for_this_account, unsupported_command, not_available}) {
    this->set(refuse);
    Client client(this->proxy.url(), less_patient());
    auto lock = deferred<TypeParam>(client);
    for (const Error& error :
         {thrown_by([&] { static_cast<void>(lock.try_lock()); }), thrown_by([&] { lock.lock(); }),
          thrown_by([&] { static_cast<void>(lock.try_lock_for(20ms)); })}) {
      const std::string what = error.what();
      EXPECT_EQ(error.code(), Errc::unsupported) << what;
      EXPECT_FALSE(error.in_doubt()) << what;
      EXPECT_NE(what.find("scripts"), std::string::npos) << what;
      EXPECT_NE(in_lower_case(what).find("evalsha"), std::string::npos) << what;
    }
    EXPECT_EQ(this->raw.command({"DBSIZE"}).integer, 0);
  }
}

TEST_F(EveryLockScriptsOfAService, AreMissedByFencing) {
  set(not_for_this_account);
  Client client(proxy.url(), less_patient());
  const Error error =
      thrown_by([&] { const Lock lock(client, "job", {.ttl = 60s, .fencing = true}); });
  EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
  EXPECT_EQ(raw.command({"DBSIZE"}).integer, 0);
}

TEST_F(EveryLockScriptsOfAService, AreMissedByARedlock) {
  set(not_for_this_account);
  Quorum nodes({proxy.url()}, {.client = patient(), .server_timeout = 20s});
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
  EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
  EXPECT_NE(std::string(error.what()).find("needs scripts"), std::string::npos) << error.what();
  EXPECT_FALSE(raw.exists("job")) << "it could not be released";
  set({});
  EXPECT_TRUE(eventually([&] {
    try {
      return lock.try_lock();
    } catch (const Error&) {
      return false;  // the next connection is made after a pause
    }
  }));
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// A proxy whose server is away says of all commands that they are not to be had now.
Answer not_now(const ScriptedRequest&) { return resp::error("ERR no upstream host"); }

TEST_F(EveryLockScriptsOfAService, ForAMomentAreUsedAgainAfterwards) {
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(proxy.url(), options);
  Lock lock(client, "job", long_lease);
  set(not_now);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend()); }), Errc::protocol_error);
  set({});
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.calls(release_without_scripts(raw)), 0);
}

/// A release that is refused for a moment leaves the key to no ttl.
TEST_F(EveryLockScriptsOfAService, ForAMomentKeepNoKeyLocked) {
  Client client(proxy.url(), less_patient());
  Lock lock(client, "job", long_lease);
  set(not_now);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  set({});
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
}

/// Neither way is left while they are refused, and both are tried again.
TEST_F(EveryLockScriptsOfAService, TogetherWithTransactionsAreTriedAgain) {
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(proxy.url(), options);
  Lock lock(client, "job", long_lease);
  set([](const ScriptedRequest& request) -> Answer {
    if (is_another_way(request)) {
      return resp::error("ERR command not support for your account");
    }
    return not_for_this_account(request);
  });
  for (int i = 0; i < 2; ++i) {
    const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
    EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
  }
  set({});
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// An error that a script meets is none of the command.
TEST_F(EveryLockScriptsOfAService, AreNotMistakenForOddErrors) {
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client(proxy.url(), options);
  Lock lock(client, "job", long_lease);
  bool first = true;
  set([&](const ScriptedRequest& request) -> Answer {
    if (!request.is("EVALSHA") || !std::exchange(first, false)) return std::nullopt;
    return resp::error("ODD the moon is full");
  });
  const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
  EXPECT_EQ(error.code(), Errc::protocol_error) << error.what();
  EXPECT_NE(std::string(error.what()).find("the moon is full"), std::string::npos);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.calls(release_without_scripts(raw)), 0);
}

/// A proxy that loses its server when that has carried a script out, while it has another one for
/// reads: what it says to scripts afterwards is no refusal of the one before.
class EveryLockScriptsOfALostServer : public EveryLockScriptsOfAService {
 protected:
  /// `is_lost` says of a request behind the script whether the proxy has no server for it.
  void lose_server_after_script(bool (*is_lost)(const ScriptedRequest& request)) {
    set([this, is_lost, is_carried_out = false](const ScriptedRequest& request) mutable -> Answer {
      if (!is_script(request) && !is_lost(request)) return std::nullopt;
      if (request.is("EVALSHA") && !std::exchange(is_carried_out, true)) {
        primary.command(request.words);
      }
      return resp::error("upstream failure");
    });
  }
  static bool none(const ScriptedRequest& /*request*/) { return false; }
  static ClientOptions one_connection() {
    ClientOptions options = less_patient();
    options.connections = 1;
    return options;
  }

  RawClient primary{server.socket()};
  Client client{proxy.url(), one_connection()};
};

TEST_F(EveryLockScriptsOfALostServer, LeaveAReleaseUnknownWhoseKeyIsGone) {
  Lock lock(client, "job", long_lease);
  lose_server_after_script(none);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(EveryLockScriptsOfALostServer, LeaveAReleaseUnknownThatHasLeftTheKey) {
  const LockOptions options{.ttl = 60s, .min_hold = 120s};
  EXPECT_EQ(Lock(client, "mail", options).unlock(), Unlock::released)
      << "the server has the script";
  Lock lock(client, "job", options);
  lose_server_after_script(none);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_GT(raw.pttl("job"), 60'000);
}

TEST_F(EveryLockScriptsOfALostServer, LoseNothingBehindAGuard) {
  {
    const Lock guard(client, "job", long_lease);
    lose_server_after_script(none);
  }
  EXPECT_TRUE(eventually([&] { return client.metrics().release_unknown == 1; }));
  EXPECT_EQ(client.metrics().lost, 0U);
}

TEST_F(EveryLockScriptsOfALostServer, MayHaveShortenedALease) {
  Lock lock(client, "job", {.ttl = 60s, .auto_renew = false});
  lose_server_after_script(is_another_way);
  const Error error = thrown_by([&] { static_cast<void>(lock.extend(20s)); });
  EXPECT_TRUE(error.in_doubt()) << error.what();
  EXPECT_LE(lock.remaining().count(), raw.pttl("job"));
  set({});
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(EveryLockScriptsOfALostServer, KeepNoKeyLockedThatWasAcquired) {
  EXPECT_EQ(Lock(client, "job", {.ttl = 60s, .fencing = true}).unlock(), Unlock::released);
  lose_server_after_script(is_another_way);
  const Error error =
      thrown_by([&] { const Lock lock(client, "job", {.ttl = 60s, .fencing = true}); });
  EXPECT_TRUE(error.in_doubt()) << error.what();
  EXPECT_TRUE(raw.exists("job"));
  set({});
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

/// Locks are not refused for longer than releases are.
TEST_F(EveryLockScriptsOfALostServer, AreAskedForOnceTheServerIsBack) {
  set([](const ScriptedRequest& request) -> Answer {
    if (!is_script(request) && !is_another_way(request)) return std::nullopt;
    return resp::error("upstream failure");
  });
  { const Lock guard(client, "job", {.ttl = 1s}); }
  EXPECT_TRUE(eventually([&] { return client.metrics().release_unknown == 1; }));
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job"); }), Errc::unsupported);
  set({});
  EXPECT_TRUE(eventually([&] { return !error_of([&] { const Lock lock(client, "job"); }); }));
}

/// Whether each key of a command in a script is written as KEYS[n], with a number.
bool has_literal_keys(const std::string& script) {
  for (const char* call : {"redis.call('", "redis.pcall('"}) {
    for (std::size_t at = script.find(call); at != std::string::npos;
         at = script.find(call, at + 1)) {
      const std::size_t name = at + std::string_view(call).size();
      const std::size_t comma = script.find('\'', name);
      const std::string command = script.substr(name, comma - name);
      if (command == "TIME" || command == "PUBSUB" || command == "PUBLISH") continue;
      const std::string_view key = std::string_view(script).substr(comma);
      const bool is_literal = key.starts_with("', KEYS[") && key.size() > 10 &&
                              std::isdigit(static_cast<unsigned char>(key[8])) != 0 &&
                              key[9] == ']';
      if (!is_literal) return false;
    }
  }
  return true;
}

/// As a service that looks at the text of a script before it runs it.
Answer literal_keys_only(const ScriptedRequest& request) {
  const bool has_text = request.is("EVAL") || (request.is("SCRIPT") && request.words[1] == "LOAD");
  if (!has_text || has_literal_keys(request.words[request.is("EVAL") ? 1 : 2])) {
    return std::nullopt;
  }
  return resp::error(
      "ERR bad lua script for redis cluster, all the keys that the script uses should be passed "
      "using the KEYS array");
}

TEST_F(EveryLockScriptsOfAService, WithoutLiteralKeysAreNoneThatALockNeeds) {
  set(literal_keys_only);
  Client client(proxy.url(), less_patient());
  Lock lock(client, "job", long_lease);
  EXPECT_FALSE(Lock(client, "job", 20ms));
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
  EXPECT_EQ(raw.calls(release_without_scripts(raw)), 0);
}

TEST_F(EveryLockScriptsOfAService, WithoutLiteralKeysAreNoneThatTheOthersNeed) {
  set(literal_keys_only);
  Client client(proxy.url(), less_patient());
  const auto live_with = [&](auto lock) {
    EXPECT_TRUE(lock.try_lock());
    EXPECT_TRUE(lock.extend());
    EXPECT_TRUE(lock.verify());
    EXPECT_EQ(lock.unlock(), Unlock::released);
  };
  const LockOptions numbered{.ttl = 60s, .fencing = true};
  live_with(deferred<Lock>(client, numbered));
  live_with(deferred<FairLock>(client, numbered));
  live_with(deferred<WriteLock>(client, numbered));
  live_with(deferred<ReadLock>(client));
  live_with(deferred<RecursiveLock>(client, numbered));
  live_with(deferred<Permit>(client));
  live_with(deferred<MultiLock>(client));
  live_with(deferred<MultiLock>(client, numbered));
}

TEST(ScriptText, NamesEachKeyLiterally) {
  for (const NamedScript& one : all_scripts) {
    EXPECT_TRUE(has_literal_keys(std::string(one.script->text))) << one.name;
  }
}

}  // namespace refused_scripts_test
}  // namespace redlatch::test
