#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace native_commands_test {

using Words = std::vector<std::string>;

/// As much of a newer server as locks use, with the commands that a test wants it to have.
class NewerServer {
 public:
  std::set<std::string> known{};    // of DELEX, DELIFEQ
  std::set<std::string> refused{};  // with NOPERM
  std::map<std::string, std::string> keys{};

  std::string operator()(const ScriptedRequest& request) {
    const Words& words = request.words;
    if (refused.contains(request.name())) {
      return resp::error("NOPERM this user has no permissions to run the '" + request.name() +
                         "' command");
    }
    if (request.is("COMMAND")) return resp::array({info("DELEX"), info("DELIFEQ")});
    if (request.is("SET")) return set(words);
    if (request.is("DELEX") || request.is("DELIFEQ")) {
      if (!known.contains(request.name())) return resp::error("ERR unknown command");
      return resp::integer(holds(words[1], words.back()) ? remove(words[1]) : 0);
    }
    if (request.is("EVALSHA")) return resp::integer(remove(words[3]));
    if (request.is("EXISTS")) return resp::integer(keys.contains(words[1]) ? 1 : 0);
    if (request.is("GETRANGE")) return resp::bulk(keys.contains(words[1]) ? keys[words[1]] : "");
    if (request.is("DEL")) {
      deleted_ = words[1];
      return resp::status("QUEUED");
    }
    if (request.is("EXEC")) return resp::array({resp::integer(remove(deleted_))});
    return resp::ok;
  }

 private:
  std::string info(const std::string& name) const {
    return known.contains(name) ? resp::array({resp::bulk(name), resp::integer(-3)})
                                : resp::nil_array;
  }
  std::string set(const Words& words) {
    const bool good = words[3] == "NX" ? !keys.contains(words[1]) : holds(words[1], words[4]);
    if (good) keys[words[1]] = words[2];
    return good ? resp::ok : resp::nil;
  }
  bool holds(const std::string& key, const std::string& token) const {
    const auto at = keys.find(key);
    return at != keys.end() && at->second == token;
  }
  long long remove(const std::string& key) { return static_cast<long long>(keys.erase(key)); }

  std::string deleted_{};
};

class LockNativeCommands : public testing::Test {
 protected:
  void server_knows(std::set<std::string> commands) {
    const auto held = server.hold();
    redis.known = std::move(commands);
  }
  void user_may_not(std::set<std::string> commands) {
    const auto held = server.hold();
    redis.refused = std::move(commands);
  }
  void take_over() {
    const auto held = server.hold();
    redis.keys["job"] = "a stranger";
  }
  std::string holder() {
    const auto held = server.hold();
    return redis.keys["job"];
  }

  static ClientOptions without_scripting() {
    ClientOptions options = patient();
    options.scripting = false;
    return options;
  }
  Words last(const char* name) const {
    Words words;
    for (const ScriptedRequest& request : server.requests()) {
      if (request.is(name)) words = request.words;
    }
    return words;
  }

  NewerServer redis{};
  ScriptedServer server{[this](const ScriptedRequest& request) { return redis(request); }};
  Client client{server.url(), without_scripting()};
};

TEST_F(LockNativeCommands, ReleaseByDelex) {
  server_knows({"DELEX", "DELIFEQ"});
  Lock lock(client, "job", long_lease);
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(last("DELEX"), (Words{"DELEX", "job", "IFEQ", token}));
  EXPECT_EQ(server.count("WATCH") + server.count("EVALSHA") + server.count("DELIFEQ"), 0U);
}

TEST_F(LockNativeCommands, ReleaseByDelifeq) {
  server_knows({"DELIFEQ"});
  Lock lock(client, "job", long_lease);
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(last("DELIFEQ"), (Words{"DELIFEQ", "job", token}));
  EXPECT_EQ(server.count("WATCH") + server.count("EVALSHA") + server.count("DELEX"), 0U);
}

TEST_F(LockNativeCommands, ExtendBySetIfeq) {
  server_knows({"DELIFEQ"});
  Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.extend(5s));
  EXPECT_EQ(last("SET"), (Words{"SET", "job", lock.token(), "IFEQ", lock.token(), "PX", "5000"}));
  EXPECT_EQ(server.count("WATCH"), 0U);
}

TEST_F(LockNativeCommands, LeaveTheKeyBySetIfeq) {
  server_knows({"DELIFEQ"});
  Lock lock(client, "job", {.ttl = 60s, .min_hold = 60s});
  const std::string token = lock.token();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  const Words words = last("SET");
  ASSERT_EQ(words.size(), 7U);
  EXPECT_EQ((Words{words.begin(), words.end() - 1}),
            (Words{"SET", "job", token.substr(9), "IFEQ", token, "PX"}));
  EXPECT_EQ(holder(), token.substr(9));
  EXPECT_EQ(server.count("WATCH"), 0U);
}

TEST_F(LockNativeCommands, ReportALostLock) {
  server_knows({"DELEX"});
  Lock lock(client, "job", long_lease);
  take_over();
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(holder(), "a stranger");
}

TEST_F(LockNativeCommands, ReportALostLockThatShouldBeExtended) {
  server_knows({"DELEX"});
  Lock lock(client, "job", long_lease);
  take_over();
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(lock.owns_lock());
}

TEST_F(LockNativeCommands, AreAskedForOncePerConnection) {
  server_knows({"DELEX"});
  for (int i = 0; i < 20; ++i) const Lock lock(client, "job:" + std::to_string(i));
  EXPECT_EQ(server.count("COMMAND"), server.connections());
  EXPECT_EQ(last("COMMAND"), (Words{"COMMAND", "INFO", "delex", "delifeq"}));
}

TEST_F(LockNativeCommands, GiveWayToEachOtherWhenTheUserMayNotRunThem) {
  server_knows({"DELEX", "DELIFEQ"});
  user_may_not({"DELEX"});
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("DELEX"), 1U);
  EXPECT_EQ(server.count("DELIFEQ"), 1U);
  lock.lock();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("DELEX"), 1U) << "one refusal is enough";
}

TEST_F(LockNativeCommands, GiveWayToWatchWhenTheUserMayRunNone) {
  server_knows({"DELEX", "DELIFEQ"});
  user_may_not({"DELEX", "DELIFEQ"});
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("WATCH"), 1U);
  EXPECT_EQ(holder(), "");
}

TEST_F(LockNativeCommands, GiveWayToWatchWhenTheServerTurnsOutNotToHaveThem) {
  server_knows({"DELEX"});
  Lock lock(client, "job", long_lease);
  server_knows({});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("WATCH"), 1U);
}

TEST_F(LockNativeCommands, TakeThePlaceOfScriptsThatTheUserMayNotRun) {
  server_knows({"DELEX"});
  user_may_not({"EVALSHA", "EVAL", "SCRIPT"});
  Client scripting(server.url(), patient());
  Lock lock(scripting, "job", long_lease);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("DELEX"), 1U);
  EXPECT_EQ(server.count("WATCH"), 0U);
  EXPECT_EQ(server.count("EVALSHA"), 1U) << "one refusal is enough";
}

TEST_F(LockNativeCommands, AreNotUsedWhileScriptsAre) {
  server_knows({"DELEX", "DELIFEQ"});
  Client scripting(server.url(), patient());
  Lock lock(scripting, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("DELEX") + server.count("COMMAND"), 0U);
  EXPECT_EQ(server.count("EVALSHA"), 1U);
}

}  // namespace native_commands_test
}  // namespace redlatch::test
