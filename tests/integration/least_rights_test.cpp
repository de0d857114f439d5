#include <algorithm>
#include <string>
#include <vector>

#include "limited_user.hpp"

namespace redlatch::test {
namespace least_rights_test {

/// The least that a user needs. docs/permissions.md has these lists.
class LockLeastRights : public LimitedUserTest {
 protected:
  const std::vector<std::string> with_scripting{"~lock:*", "+set",     "+get",  "+getrange",
                                                "+del",    "+pexpire", "+eval", "+evalsha"};
  const std::vector<std::string> without_scripting{
      "~lock:*", "+set", "+getrange", "+exists", "+del", "+pexpire", "+watch", "+multi", "+exec"};

  static ClientOptions options(bool scripting) {
    ClientOptions options = patient();
    options.command_timeout = 2s;
    options.scripting = scripting;
    return options;
  }

  /// Everything that a lock can be asked, also by one that waits.
  bool suffice(const std::vector<std::string>& rights, bool scripting) {
    allow(rights);
    raw.command({"SCRIPT", "FLUSH"});
    raw.command({"FLUSHALL"});
    Client worker = user(options(scripting));
    Lock lock(worker, "lock:job", std::defer_lock, {.ttl = 10s});
    bool good = false;
    try {
      good = lock.try_lock() && !Lock(worker, "lock:job", 20ms) && lock.extend() && lock.verify() &&
             lock.unlock() == Unlock::released &&
             Lock(worker, "lock:brief", {.min_hold = 1s}).unlock() == Unlock::released;
      raw.command({"SET", "lock:job", "a stranger"});
      good = good && !lock.try_lock_for(20ms);
    } catch (const Error& refusal) {
      EXPECT_EQ(refusal.code(), Errc::not_permitted) << refusal.what();
      good = false;
    }
    raw.command({"DEL", "lock:job"});
    allow({"~*", "+@all"});  // so that no release stays open
    return good;
  }

  void each_is_needed(const std::vector<std::string>& rights, bool scripting) {
    for (const std::string& right : rights) {
      std::vector<std::string> fewer = rights;
      std::erase(fewer, right);
      SCOPED_TRACE("without " + right);
      EXPECT_FALSE(suffice(fewer, scripting));
    }
  }
};

TEST_F(LockLeastRights, SufficeWithScripting) { EXPECT_TRUE(suffice(with_scripting, true)); }

TEST_F(LockLeastRights, AreEachNeededWithScripting) { each_is_needed(with_scripting, true); }

TEST_F(LockLeastRights, SufficeWithoutScripting) { EXPECT_TRUE(suffice(without_scripting, false)); }

TEST_F(LockLeastRights, AreEachNeededWithoutScripting) { each_is_needed(without_scripting, false); }

TEST_F(LockLeastRights, ForAPingArePing) {
  allow({});
  Client without = user();
  EXPECT_EQ(error_of([&] { without.ping(); }), Errc::not_permitted);
  allow({"+ping"});
  Client with = user();
  with.ping();
}

TEST_F(LockLeastRights, ForAnotherDatabaseIncludeSelect) {
  std::vector<std::string> rights = with_scripting;
  const std::string url = "redis://worker:secret@127.0.0.1:" + std::to_string(server.port()) + "/3";
  allow(rights);
  Client without(url, patient());
  EXPECT_EQ(error_of([&] { const Lock lock(without, "lock:job"); }), Errc::not_permitted);
  rights.emplace_back("+select");
  allow(rights);
  Client with(url, patient());
  live_with(with, "lock:job");
}

TEST_F(LockLeastRights, ForANameIncludeClientSetname) {
  std::vector<std::string> rights = with_scripting;
  rights.emplace_back("+client|setname");
  allow(rights);
  ClientOptions named = patient();
  named.client_name = "named";
  Client worker = user(named);
  live_with(worker, "lock:job");
  EXPECT_EQ(raw.clients("named").size(), 1U);
}

TEST_F(LockLeastRights, LetAWaiterWakeAtTheEndOfTheLeaseWithPttlAndSeeAWrongTypeWithType) {
  std::vector<std::string> rights = with_scripting;
  raw.command({"LPUSH", "lock:list", "work"});
  allow(rights);
  Client without = user();
  EXPECT_FALSE(Lock(without, "lock:list", 50ms));
  rights.emplace_back("+type");
  allow(rights);
  Client with = user();
  EXPECT_EQ(error_of([&] { const Lock lock(with, "lock:list", 30s); }), Errc::wrong_type);
}

/// It could be acquired, but neither extended nor released.
TEST_F(LockLeastRights, OfARedlockAreScripts) {
  const std::string url = "redis://worker:secret@127.0.0.1:" + std::to_string(server.port());
  for (const std::string missing : {"-eval", "-evalsha"}) {
    allow({"+set", "+get", "+del", "+pexpire", "+pttl", "+type", "+eval", "+evalsha", missing,
           "~lock:*"});
    Quorum nodes({url}, {.client = patient(), .server_timeout = 20s});
    Redlock lock(nodes, "lock:job", std::defer_lock, long_lease);
    const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
    EXPECT_EQ(error.code(), Errc::not_permitted) << error.what();
    EXPECT_FALSE(raw.exists("lock:job"));
  }
  allow({"+set", "+get", "+del", "+pexpire", "+pttl", "+type", "+eval", "+evalsha", "~lock:*"});
  Quorum nodes({url}, {.client = patient(), .server_timeout = 20s});
  Redlock lock(nodes, "lock:job", std::try_to_lock, long_lease);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

}  // namespace least_rights_test
}  // namespace redlatch::test
