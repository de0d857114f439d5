#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {
namespace scripting_off_test {

ClientOptions without_scripting() {
  ClientOptions options = patient();
  options.scripting = false;
  return options;
}

class ClientScriptingOff : public ServerTest {
 protected:
  ClientScriptingOff() : ServerTest(without_scripting()) {}

  Lock lock{client, "job", long_lease};
};

TEST_F(ClientScriptingOff, NeverSendsAScript) {
  EXPECT_TRUE(lock.extend());
  EXPECT_TRUE(lock.verify());
  EXPECT_FALSE(Lock(client, "job", 20ms));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  { const Lock scoped(client, "job"); }
  const std::string commands = raw.command({"INFO", "commandstats"}).text;
  EXPECT_EQ(commands.find("eval"), std::string::npos) << commands;
  EXPECT_EQ(commands.find("script"), std::string::npos) << commands;
  EXPECT_GT(raw.calls(release_without_scripts(raw)), 0) << commands;
}

TEST_F(ClientScriptingOff, ReleasesWhatIsOurs) {
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(ClientScriptingOff, ExtendsWhatIsOurs) {
  raw.command({"PEXPIRE", "job", "20000"});
  EXPECT_TRUE(lock.extend());
  EXPECT_GT(raw.pttl("job"), 20000);
  EXPECT_EQ(raw.get("job"), lock.token());
}

TEST_F(ClientScriptingOff, LeavesAStrangersKeyAlone) {
  raw.command({"SET", "job", "a stranger", "PX", "20000"});
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.get("job"), "a stranger");
  EXPECT_LE(raw.pttl("job"), 20000);
}

TEST_F(ClientScriptingOff, LeavesAKeyOfAnotherKindAlone) {
  raw.command({"DEL", "job"});
  raw.command({"LPUSH", "job", "work"});
  EXPECT_FALSE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(raw.command({"LLEN", "job"}).integer, 1);
}

TEST_F(ClientScriptingOff, ReportsADeletedKeyAsLost) {
  raw.command({"DEL", "job"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(ClientScriptingOff, ExtendsNoDeletedKey) {
  raw.command({"DEL", "job"});
  EXPECT_FALSE(lock.extend());
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(ClientScriptingOff, LeavesNothingWatched) {
  raw.command({"SET", "job", "a stranger"});
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  raw.command({"SET", "job", "another stranger"});
  Lock next(client, "job:2", long_lease);
  EXPECT_EQ(next.unlock(), Unlock::released);
}

TEST_F(ClientScriptingOff, KeepsTheConversationsOfThreadsApart) {
  ClientOptions options = without_scripting();
  options.connections = 1;
  Client single(server.url(), options);
  std::atomic<int> number = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 10; ++round) {
        Lock own(single, "job:" + std::to_string(i), std::try_to_lock, long_lease);
        EXPECT_TRUE(own.owns_lock());
        EXPECT_TRUE(own.extend());
        EXPECT_EQ(own.unlock(), Unlock::released);
        const Lock shared(single, "shared", long_lease);
        const int seen = number;
        std::this_thread::yield();
        number = seen + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(number, 80);
}

}  // namespace scripting_off_test
}  // namespace redlatch::test
