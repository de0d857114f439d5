// Releases that the background makes, on connections of its own making.

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace background_test {

const std::string silence;

/// A lock that is held on a connection that has ended since.
class ClientBackgroundRelease : public testing::Test {
 protected:
  void hold(ClientOptions options) {
    client = std::make_unique<Client>(server->url(), options);
    lock.emplace(*client, "job", std::defer_lock, long_lease);
    ASSERT_TRUE(eventually([&] { return !error_of([&] { lock->lock(); }); }));
    was_connected = server->connections();
    server->close_all();
  }
  void serve(ScriptedServer::Handler handler) { server.emplace(std::move(handler)); }

  std::optional<ScriptedServer> server{};
  std::atomic<std::size_t> was_connected = 1000;
  std::unique_ptr<Client> client{};
  std::optional<Lock> lock{};
};

TEST_F(ClientBackgroundRelease, HasAllOfConnectTimeoutToConnect) {
  std::atomic<bool> released = false;
  serve([&](const ScriptedRequest& request) {
    const bool later = request.connection > was_connected;
    // So slow that a command would be given up; that nothing is given up has no sign.
    if (later && request.is("SCRIPT")) std::this_thread::sleep_for(100ms);
    if (later && request.is("EVALSHA")) released = true;
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  hold({.connect_timeout = 20s, .command_timeout = 30ms});
  lock.reset();
  EXPECT_TRUE(eventually([&] { return released.load(); }));
}

TEST_F(ClientBackgroundRelease, ThatHangsConnectingEndsWithTheClient) {
  constexpr auto command_timeout = 1s;
  serve([&](const ScriptedRequest& request) {
    return request.connection > was_connected ? silence : resp::ok;
  });
  hold({.connect_timeout = 20s, .command_timeout = command_timeout});
  lock.reset();
  ASSERT_TRUE(eventually([&] { return server->connections() > was_connected; }));
  EXPECT_LT(duration_of([&] { client.reset(); }), command_timeout + 5s);
}

TEST_F(ClientBackgroundRelease, ThatHangsConnectingMakesNoCallerWaitLongerThanItselfWould) {
  constexpr auto connect_timeout = 2s;
  serve([&](const ScriptedRequest& request) {
    return request.connection > was_connected ? silence : resp::ok;
  });
  hold({.connect_timeout = connect_timeout, .command_timeout = 1s, .connections = 1});
  lock.reset();
  ASSERT_TRUE(eventually([&] { return server->connections() > was_connected; }));
  EXPECT_LT(duration_of([&] { EXPECT_TRUE(error_of([&] { client->ping(); })); }),
            connect_timeout + 1s + 5s);
}

TEST_F(ClientBackgroundRelease, IsRepeatedUntilTheServerIsBack) {
  std::atomic<int> refused = 0;
  serve([&](const ScriptedRequest& request) {
    if (request.is("EVALSHA") && ++refused < 4) return resp::error("LOADING Redis is loading");
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  hold(patient());
  lock.reset();
  EXPECT_TRUE(eventually([&] { return refused == 4; }));
}

/// `lock()` on a lock that was lost, when the server has stopped to answer.
TEST(LockThatIsLost, IsAskedForAgainWithinOneTimeOut) {
  constexpr auto command_timeout = 3s;
  std::atomic<bool> silent = false;
  const ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("GETRANGE")) return resp::bulk("");
    return silent ? silence : resp::ok;
  });
  Client client(server.url(), {.connect_timeout = 20s, .command_timeout = command_timeout});
  Lock lock(client, "job", long_lease);
  ASSERT_FALSE(lock.verify());
  silent = true;
  std::error_code error;
  const auto time = duration_of([&] { error = error_of([&] { lock.lock(); }); });
  EXPECT_EQ(error, Errc::timed_out);
  EXPECT_LT(time, command_timeout + 2500ms);
  std::vector<std::string> names;
  for (const ScriptedRequest& request : server.requests()) {
    if (!request.is("SCRIPT")) names.push_back(request.name());
  }
  ASSERT_GE(names.size(), 4U);
  names.resize(4);
  EXPECT_EQ(names, (std::vector<std::string>{"SET", "GETRANGE", "EVALSHA", "SET"}));
}

/// Without scripts, what takes an acquisition back needs another connection than the one that the
/// acquisition may still lie on.
TEST(ClientCleanupByWatch, IsHadAgainOnceTheOldConnectionHasSettled) {
  std::atomic<std::size_t> conversations = 0;
  std::atomic<std::size_t> set_on = 0;
  std::atomic<bool> same = false;
  const ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("COMMAND")) return resp::array({resp::nil_array, resp::nil_array});
    if (request.is("SET")) {
      set_on = request.connection;
      return silence;
    }
    if (request.is("WATCH") && request.connection == set_on) same = true;
    if (request.is("EXISTS")) return resp::integer(0);
    if (request.is("GETRANGE")) return resp::bulk("");
    if (request.is("DEL")) return resp::status("QUEUED");
    if (request.is("EXEC")) {
      ++conversations;
      return resp::array({resp::integer(0)});
    }
    return resp::ok;
  });
  Client client(server.url(),
                {.connect_timeout = 20s, .command_timeout = 300ms, .scripting = false});
  Lock lock(client, "job", std::defer_lock, long_lease);
  EXPECT_TRUE(thrown_by([&] { static_cast<void>(lock.try_lock()); }).in_doubt());
  EXPECT_TRUE(eventually([&] { return conversations >= 2; }));
  EXPECT_FALSE(same);
}

TEST(ClientCleanupByWatch, IsHadOnceWhenItFoundTheKey) {
  std::atomic<std::size_t> conversations = 0;
  std::string token;
  const ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("COMMAND")) return resp::array({resp::nil_array, resp::nil_array});
    if (request.is("SET")) {
      token = request.words[2];
      return silence;
    }
    if (request.is("EXISTS")) return resp::integer(1);
    if (request.is("GETRANGE")) return resp::bulk(token);
    if (request.is("DEL")) return resp::status("QUEUED");
    if (request.is("EXEC")) {
      ++conversations;
      return resp::array({resp::integer(1)});
    }
    return resp::ok;
  });
  {
    Client client(server.url(),
                  {.connect_timeout = 20s, .command_timeout = 300ms, .scripting = false});
    Lock lock(client, "job", std::defer_lock, long_lease);
    EXPECT_TRUE(thrown_by([&] { static_cast<void>(lock.try_lock()); }).in_doubt());
    EXPECT_TRUE(eventually([&] { return conversations >= 1; }));
  }
  EXPECT_EQ(conversations, 1U);
}

}  // namespace background_test
}  // namespace redlatch::test
