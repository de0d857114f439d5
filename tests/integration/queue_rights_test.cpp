// What a user needs for the queue at the server, and what becomes of waiting without it.

#include <optional>
#include <string>
#include <vector>

#include "contender.hpp"

namespace redlatch::test {
namespace queue_rights_test {

class ServerQueueRights : public ServerQueueTest {
 protected:
  const std::vector<std::string> all{"~job*",
                                     "&redlatch:*",
                                     "&__redis__:invalidate",
                                     "+get",
                                     "+set",
                                     "+del",
                                     "+pexpire",
                                     "+eval",
                                     "+evalsha",
                                     "+time",
                                     "+lpop",
                                     "+rpush",
                                     "+lpos",
                                     "+lset",
                                     "+lrange",
                                     "+lindex",
                                     "+lrem",
                                     "+publish",
                                     "+pubsub|numsub",
                                     "+subscribe",
                                     "+client|id",
                                     "+client|tracking",
                                     "+client|caching",
                                     "+pttl",
                                     "+script|load",
                                     "+exists",
                                     "+getrange",
                                     "+watch",
                                     "+multi",
                                     "+exec"};

  Client user(std::vector<std::string> rights, const std::string& without) {
    std::erase(rights, without);
    std::vector<std::string> words{"ACL", "SETUSER", "worker", "reset", "on", ">secret"};
    words.insert(words.end(), rights.begin(), rights.end());
    EXPECT_EQ(raw.command(words).text, "OK") << without;
    return Client("redis://worker:secret@127.0.0.1:" + std::to_string(server.port()), patient());
  }

  /// Waits, whether in the queue or not, and gets the lock.
  void expect_patience(const std::string& without) {
    SCOPED_TRACE("without " + without);
    Contender contender(user(all, without));
    ASSERT_TRUE(eventually([&] { return contender.client().metrics().waiting == 1; }));
    ASSERT_TRUE(eventually([&] { return contender.client().metrics().contended == 1; }));
    holder.unlock();
    EXPECT_TRUE(contender.has_it());
    // What is left of the queue keeps no client out.
    contender.ends();
    EXPECT_TRUE(holder.try_lock_for(30s));
  }
};

TEST_F(ServerQueueRights, Suffice) {
  Contender contender(user(all, ""));
  ASSERT_TRUE(is_queued(1));
  EXPECT_TRUE(eventually([&] { return raw.info("clients", "tracking_clients:") == 1; }));
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
  contender.ends();
  EXPECT_TRUE(is_empty());
  EXPECT_EQ(raw.command({"ACL", "LOG"}).elements.size(), 0U);
}

TEST_F(ServerQueueRights, ToListenAreMissed) {
  expect_patience("&redlatch:*");
  expect_patience("+subscribe");
}

TEST_F(ServerQueueRights, ToTellAreMissed) { expect_patience("+publish"); }

/// PUBLISH says nearly the same.
TEST_F(ServerQueueRights, ToAskWhoListensAreMissed) { expect_patience("+pubsub|numsub"); }

TEST_F(ServerQueueRights, ToRunScriptsAreMissed) {
  expect_patience("+eval");
  expect_patience("+evalsha");
}

TEST_F(ServerQueueRights, ToWatchKeysAreMissed) {
  for (const char* right :
       {"&__redis__:invalidate", "+client|id", "+client|tracking", "+client|caching", "+pttl"}) {
    expect_patience(right);
  }
}

TEST_F(ServerQueueRights, ToHaveAQueueAreMissed) {
  for (const char* right :
       {"+time", "+lpop", "+rpush", "+lpos", "+lset", "+lrange", "+lindex", "+lrem"}) {
    expect_patience(right);
  }
}

TEST_F(ServerQueueRights, AreNotUsedWithoutScripting) {
  ClientOptions options = patient();
  options.scripting = false;
  Contender contender(Client(server.url(), options));
  ASSERT_TRUE(eventually([&] { return contender.client().metrics().contended == 1; }));
  EXPECT_EQ(queued(), 0);
  holder.unlock();
  EXPECT_TRUE(contender.has_it());
}

TEST_F(ServerQueueRights, ToTellMissedByAStrangerWhoReleasesLeaveTheLockFree) {
  Client stranger = user({"~job*", "+get", "+set", "+del", "+pexpire", "+eval", "+evalsha",
                          "+lindex", "+lpop", "+time"},
                         "");
  holder.unlock();
  Lock lock(stranger, "job", long_lease);
  raw.command({"RPUSH", queue,
               "99999999999999 60000 redlatch:nobody 11111111-2222-4333-8444-555555555555"});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(ServerQueueRights, OfAStrangerWhoReleasesMakeNoDifference) {
  Client stranger = user({"~job*", "+get", "+set", "+del", "+pexpire", "+eval", "+evalsha"}, "");
  holder.unlock();
  Lock lock(stranger, "job", long_lease);
  Contender contender(another());
  ASSERT_TRUE(is_queued(1));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(contender.has_it());
}

}  // namespace queue_rights_test
}  // namespace redlatch::test
