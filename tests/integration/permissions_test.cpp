#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "diary.hpp"
#include "limited_user.hpp"

namespace redlatch::test {
namespace permissions_test {

using LockPermissions = LimitedUserTest;

/// Once each, without scripts, of a lock that was acquired once: by WATCH, or at a server that has
/// DELIFEQ, by SET with IFEQ and that.
void expect_an_extension_and_a_release(RawClient& raw) {
  const std::string release = release_without_scripts(raw);
  const bool by_watch = release == "watch";
  EXPECT_EQ(raw.calls(release), by_watch ? 2 : 1);
  EXPECT_EQ(raw.calls("set"), by_watch ? 1 : 2);
}

TEST_F(LockPermissions, WithoutAnyScriptingLeadToTheNextWay) {
  allow({"~*", "+@all", "-@scripting"});
  Client client_of_user = user();
  live_with(client_of_user, "job");
  EXPECT_GT(raw.calls(release_without_scripts(raw)), 0);
  EXPECT_EQ(raw.calls("eval") + raw.calls("evalsha"), 0)
      << "counted by the server when carried out";
}

TEST_F(LockPermissions, WithoutEvalshaLeadToTheNextWay) {
  allow({"~*", "+@all", "-evalsha"});
  Client client_of_user = user();
  live_with(client_of_user, "job");
  EXPECT_GT(raw.calls(release_without_scripts(raw)), 0);
}

TEST_F(LockPermissions, WithoutEvalNeedTheLoadedScript) {
  allow({"~*", "+@all", "-eval"});
  Client client_of_user = user();
  live_with(client_of_user, "job");
  const std::string next_way = release_without_scripts(raw);
  EXPECT_EQ(raw.calls(next_way), 0);
  Lock lock(client_of_user, "job", long_lease);
  raw.command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.calls(next_way), 1);
}

TEST_F(LockPermissions, WithoutScriptLoadLetEvalBringTheScript) {
  allow({"~*", "+@all", "-script"});
  Client client_of_user = user();
  live_with(client_of_user, "job");
  EXPECT_GT(raw.calls("eval"), 0);
  EXPECT_EQ(raw.calls(release_without_scripts(raw)), 0);
}

TEST_F(LockPermissions, WithoutClientSetnameDoWithoutAName) {
  allow({"~*", "+@all", "-client"});
  ClientOptions options = patient();
  options.client_name = "nameless";
  Client client_of_user = user(options);
  live_with(client_of_user, "job");
  EXPECT_TRUE(raw.clients("nameless").empty());
}

TEST_F(LockPermissions, WithoutCommandInfoLeadToWatchWhenScriptingIsOff) {
  allow({"~*", "+@all", "-command"});
  ClientOptions options = patient();
  options.scripting = false;
  Client client_of_user = user(options);
  live_with(client_of_user, "job");
  EXPECT_GT(raw.calls("watch"), 0);
}

TEST_F(LockPermissions, WithoutPttlAndTypeOnlyMakeWaitsCoarser) {
  allow({"~*", "+@all", "-pttl", "-type"});
  Client client_of_user = user();
  live_with(client_of_user, "job");
  raw.command({"SET", "job", "a holder that died", "PX", "200"});
  EXPECT_TRUE(Lock(client_of_user, "job", 30s));
}

TEST_F(LockPermissions, WithoutSetAreMissed) {
  allow({"~*", "+@all", "-set"});
  Client client_of_user = user();
  const Error error = thrown_by([&] { const Lock lock(client_of_user, "job"); });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_FALSE(error.in_doubt());
}

TEST_F(LockPermissions, ForOtherKeysAreMissed) {
  allow({"~lock:*", "+@all"});
  Client client_of_user = user();
  const Error error = thrown_by([&] { const Lock lock(client_of_user, "job"); });
  EXPECT_EQ(error.code(), Errc::not_permitted);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("\"job\""), std::string::npos) << error.what();
  live_with(client_of_user, "lock:job");
}

TEST_F(LockPermissions, MissedInsideAScriptAreNoticed) {
  for (const char* missing : {"-get", "-pexpire"}) {
    allow({"~*", "+@all", missing});
    Client client_of_user = user({.connect_timeout = 20s, .command_timeout = 1s});
    Lock lock(client_of_user, "job", long_lease);
    const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
    EXPECT_EQ(error.code(), Errc::not_permitted) << missing << error.what();
    EXPECT_TRUE(lock.owns_lock());
    allow({"~*", "+@all"});
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
}

TEST_F(LockPermissions, MissedInsideTheReleaseLeaveItOpenUntilTheyAreGiven) {
  allow({"~*", "+@all", "-del"});
  Client client_of_user = user();
  Lock lock(client_of_user, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_TRUE(raw.exists("job"));
  allow({"~*", "+@all"});
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(LockPermissions, TakenAwayWhileHeldLeadToTheNextWay) {
  allow({"~*", "+@all"});
  Client client_of_user = user();
  Lock lock(client_of_user, "job", long_lease);
  EXPECT_TRUE(lock.extend());
  // Without a new password: that would end the connection.
  raw.command({"ACL", "SETUSER", "worker", "-@scripting"});
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  expect_an_extension_and_a_release(raw);
}

/// Who waits for a lock without them asks again and again.
class ClientPermissions : public LimitedUserTest {
 protected:
  /// The event of a wait, with these rights, which comes to its end.
  Event told(const std::vector<std::string>& rights) {
    Diary diary([](const Event& event) { return event.kind == EventKind::connect_failed; });
    Lock holder(client, "job", long_lease);
    allow(rights);
    Client worker = user(diary.options());
    std::thread waiter([&] { EXPECT_TRUE(Lock(worker, "job", 60s, long_lease)); });
    const Event event = diary.first();
    holder.unlock();
    waiter.join();
    EXPECT_EQ(diary.events().size(), 1U) << "and not once for each question";
    EXPECT_EQ(worker.metrics().connect_failed, 1U);
    return event;
  }
  static bool names(const Event& event, const std::string& right) {
    EXPECT_EQ(event.error, Errc::not_permitted);
    EXPECT_EQ(event.key, "");
    EXPECT_NE(event.detail.find("waiters get no messages: the server said \"NOPERM "),
              std::string::npos);
    return event.detail.find("the rights that docs/permissions.md lists: " + right +
                             " is missing") != std::string::npos;
  }
};

TEST_F(ClientPermissions, ToSubscribeAreNamedInAnEvent) {
  const Event event = told({"~*", "&*", "+@all", "-subscribe", "-ssubscribe"});
  EXPECT_TRUE(names(event, "+subscribe")) << event.detail;
}

TEST_F(ClientPermissions, ForTheChannelAreNamedInAnEvent) {
  const Event event = told({"~*", "resetchannels", "+@all"});
  EXPECT_TRUE(names(event, "&redlatch:*")) << event.detail;
}

/// It can be waited for once they are given; until then, no attempt is made.
TEST_F(ClientPermissions, OfAFairLockAreNamedInAnEvent) {
  Diary diary([](const Event& event) { return event.kind == EventKind::connect_failed; });
  allow({"~*", "resetchannels", "+@all"});
  const Lock holder(client, "job", long_lease);
  Client worker = user(diary.options());
  EXPECT_EQ(error_of([&] { const FairLock lock(worker, "job", long_lease); }), Errc::not_permitted);
  const Event event = diary.first();
  EXPECT_TRUE(names(event, "&redlatch:*")) << event.detail;
}

TEST(LockRenamedCommands, EvalshaLeadsToTheNextWay) {
  const RedisServer server({"--rename-command", "EVALSHA", ""});
  RawClient raw(server.socket());
  Client client(server.url(), patient());
  Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  expect_an_extension_and_a_release(raw);
}

TEST(LockRenamedCommands, EvalAndEvalshaAndScriptLeadToTheNextWay) {
  const RedisServer server({"--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "",
                            "--rename-command", "SCRIPT", ""});
  RawClient raw(server.socket());
  Client client(server.url(), patient());
  Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  expect_an_extension_and_a_release(raw);
}

/// Settings of a server that lacks a command, and has no DELIFEQ in its place.
std::vector<std::string> without(const char* command) {
  std::vector<std::string> settings = only_watch();
  settings.insert(settings.end(), {"--rename-command", command, ""});
  return settings;
}

bool names(const Error& error, const std::string& command) {
  EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
  return std::string(error.what()).find(command) != std::string::npos;
}

/// What an error says about a command that the server lacks inside a script: its name, but not with
/// Valkey 9.1, which does not say which script it was.
std::string name_in_script(RawClient& raw, const std::string& command) {
  const std::string error = raw.command({"EVAL", "return redis.call('no such')", "0"}).text;
  return error.find(" script: on ") == std::string::npos ? command : "lacks a command";
}

TEST(LockRenamedCommands, PexpireIsNamedByAnExtension) {
  const RedisServer server(without("PEXPIRE"));
  RawClient raw(server.socket());
  for (const bool scripting : {true, false}) {
    ClientOptions options = less_patient();
    options.scripting = scripting;
    Client client(server.url(), options);
    Lock lock(client, "job", long_lease);
    const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
    EXPECT_TRUE(names(error, scripting ? name_in_script(raw, "PEXPIRE") : "PEXPIRE"))
        << error.what();
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_EQ(lock.unlock(), Unlock::released);
    EXPECT_TRUE(Lock(client, "job", std::try_to_lock));
  }
}

/// The first lock is left to its ttl; no other is taken that could not be given up.
TEST(LockRenamedCommands, DelIsNamedByTheNextAcquisition) {
  const RedisServer server(without("DEL"));
  RawClient raw(server.socket());
  for (const bool scripting : {true, false}) {
    Diary diary([](const Event& event) { return event.kind == EventKind::release_unknown; });
    ClientOptions options = diary.options(less_patient());
    options.connections = 1;
    options.scripting = scripting;
    Client client(server.url(), options);
    Lock lock(client, "job", {.ttl = 1s});
    EXPECT_EQ(lock.unlock(), Unlock::unknown);
    EXPECT_EQ(diary.first().error, Errc::unsupported);
    for (int i = 0; i < 2; ++i) {
      const Error error = thrown_by([&] { const Lock next(client, "other", long_lease); });
      EXPECT_TRUE(names(error, scripting ? name_in_script(raw, "DEL") : "DEL")) << error.what();
      EXPECT_FALSE(error.in_doubt());
    }
    EXPECT_FALSE(raw.exists("other"));
    EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
  }
}

TEST(LockRenamedCommands, SetIsNotSupported) {
  const RedisServer server({"--rename-command", "SET", ""});
  Client client(server.url(), patient());
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job"); }), Errc::unsupported);
}

}  // namespace permissions_test
}  // namespace redlatch::test
