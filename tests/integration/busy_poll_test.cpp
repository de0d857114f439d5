// Callers that look for their answer for a while before they sleep.

#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"
#include "temporary_directory.hpp"

namespace redlatch::test {
namespace busy_poll_test {

const std::string silence;

ClientOptions busy(std::chrono::microseconds time = 200us) {
  ClientOptions options = patient();
  options.busy_poll = time;
  return options;
}

class ClientBusyPoll : public testing::Test {
 protected:
  void live_with(Client client) {
    for (int i = 0; i < 200; ++i) {
      Lock lock(client, "job", std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock());
      ASSERT_TRUE(lock.extend());
      ASSERT_EQ(lock.unlock(), Unlock::released);
      const Lock scoped(client, "job", std::try_to_lock, long_lease);
      ASSERT_TRUE(scoped.owns_lock());
    }
    client.ping();
    EXPECT_FALSE(raw.exists("job"));
  }

  RedisServer server{};
  RawClient raw{server.socket()};
};

TEST_F(ClientBusyPoll, WorksOverTcp) { live_with(Client(server.url(), busy())); }

TEST_F(ClientBusyPoll, WorksOverAUnixSocket) { live_with(Client(server.unix_url(), busy())); }

TEST_F(ClientBusyPoll, WorksForManyThreads) {
  Client client(server.url(), busy());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, key = "job:" + std::to_string(i)] {
      for (int round = 0; round < 50; ++round) {
        const Lock lock(client, key, std::try_to_lock, long_lease);
        EXPECT_TRUE(lock.owns_lock());
      }
    });
  }
}

TEST_F(ClientBusyPoll, NoticesAServerThatIsGone) {
  ClientOptions options = busy();
  options.command_timeout = 1s;  // for which the release waits at the end
  Client client(server.url(), options);
  Lock lock(client, "job", std::defer_lock, long_lease);
  ASSERT_TRUE(eventually([&] { return !error_of([&] { lock.lock(); }); }));
  server.kill();
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.verify()); }), Errc::unreachable);
}

class ClientBusyPollOfASilentServer : public testing::Test {
 protected:
  static std::string answer(const ScriptedRequest& request) {
    return request.is("SET") ? silence : resp::ok;
  }
  static void times_out(const ScriptedServer& server, std::chrono::microseconds time) {
    constexpr auto command_timeout = 300ms;
    ClientOptions options = busy(time);
    options.command_timeout = command_timeout;
    Client client(server.url(), options);
    std::error_code error;
    const auto took =
        duration_of([&] { error = error_of([&] { const Lock lock(client, "job"); }); });
    EXPECT_EQ(error, Errc::timed_out);
    EXPECT_GE(took, command_timeout);
    EXPECT_LT(took, command_timeout + 10s);
  }
};

TEST_F(ClientBusyPollOfASilentServer, TimesOutOverTcp) { times_out(ScriptedServer(answer), 200us); }

TEST_F(ClientBusyPollOfASilentServer, TimesOutOverAUnixSocket) {
  const TemporaryDirectory directory;
  times_out(ScriptedServer(answer, directory.path() + "/socket"), 200us);
}

TEST_F(ClientBusyPollOfASilentServer, TimesOutAlsoWhenItWouldLookForLongerThanThat) {
  times_out(ScriptedServer(answer), 60s);
  times_out(ScriptedServer(answer), std::chrono::microseconds::max());
}

}  // namespace busy_poll_test
}  // namespace redlatch::test
