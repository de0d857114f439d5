#include <chrono>
#include <string>

#include "entries.hpp"
#include "fixture.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace reconnecting_test {

class ClientReconnecting : public ServerTest {
 protected:
  ClientReconnecting() : ServerTest({.connect_timeout = 10s, .command_timeout = 2s}) {}

  void kill_connections() {
    EXPECT_GE(raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}).integer, 1);
  }

  Lock lock{client, "job", long_lease};
};

TEST_F(ClientReconnecting, HappensUnnoticedAfterAConnectionWasKilled) {
  kill_connections();
  EXPECT_TRUE(lock.verify());
  kill_connections();
  EXPECT_TRUE(lock.extend());
  kill_connections();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  kill_connections();
  EXPECT_TRUE(lock.try_lock());
  kill_connections();
  client.ping();
}

/// What the server said last lies unread in front of the end. A connection that was used a moment
/// ago is not looked at, so that moment has to pass.
TEST_F(ClientReconnecting, HappensUnnoticedBehindAnAnswerThatNobodyHasTaken) {
  lock.unlock();
  for (int i = 0; i < 20; ++i) {
    { const Lock guard(client, "job", long_lease); }
    const auto released = std::chrono::steady_clock::now();
    ASSERT_TRUE(eventually(
        [&] { return !raw.exists("job") && std::chrono::steady_clock::now() - released > 1ms; }));
    kill_connections();
  }
}

TEST_F(ClientReconnecting, HappensForTheDestructorInTheBackground) {
  kill_connections();
  { const Lock gone(std::move(lock)); }
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST_F(ClientReconnecting, HappensAfterARestartThatForgotTheLock) {
  server.kill();
  server.start();
  EXPECT_FALSE(lock.verify());
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_TRUE(lock.try_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientReconnecting, HappensAfterARestartThatKeptTheLock) {
  const std::string token = lock.token();
  server.kill();
  server.start();
  RawClient(server.socket()).command({"SET", "job", token, "PX", "50000"});
  EXPECT_TRUE(lock.verify());
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

TEST_F(ClientReconnecting, IsNotPossibleWithoutAServerWhichVerifySays) {
  server.kill();
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.verify()); }), Errc::unreachable);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend()); }), Errc::unreachable);
  EXPECT_TRUE(lock.owns_lock()) << "nobody has said that it is lost";
  server.start();
  EXPECT_FALSE(lock.extend());
}

TEST_F(ClientReconnecting, IsNotPossibleWithoutAServerWhichUnlockSays) {
  server.kill();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_FALSE(lock.owns_lock());
  server.start();
  client.ping();
}

TEST_F(ClientReconnecting, IsNotNeededAfterAScriptFlush) {
  ASSERT_TRUE(lock.extend());
  raw.command({"SCRIPT", "FLUSH"});
  EXPECT_TRUE(lock.extend());
  raw.command({"SCRIPT", "FLUSH"});
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.errors("NOSCRIPT"), 2);
  EXPECT_FALSE(raw.exists("job"));
  lock.lock();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(raw.errors("NOSCRIPT"), 2) << "the server knows the script again";
}

TEST(ClientUnreachable, LeavesNoDescriptorOpen) {
  const TemporaryDirectory directory;
  const auto descriptors = [] { return entries("/proc/self/fd"); };
  for (const std::string& url :
       {"unix://" + directory.path() + "/nobody", std::string("redis://127.0.0.1:1")}) {
    Client client(url, patient());
    const auto before = descriptors();
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(thrown_by([&] { client.ping(); }).code(), Errc::unreachable);
    }
    EXPECT_EQ(descriptors(), before) << url;
  }
}

}  // namespace reconnecting_test
}  // namespace redlatch::test
