// A refused command is not sent again behind a newer one about the same lease.

#include <atomic>
#include <chrono>
#include <string>
#include <thread>

#include <redlatch/protocol/exclusive.hpp>

#include "fixture.hpp"
#include "proxy.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace retry_order_test {

constexpr std::chrono::milliseconds ttl = 3s;

/// The replies of the server are held back between a renewal that it refuses and an extension that
/// it carries out, since the script has been loaded again in between.
class LockRefusedRenewal : public testing::Test {
 protected:
  RedisServer server{};
  RawClient raw{server.socket()};
  Proxy proxy{server.socket()};
  Client client{proxy.url(), single()};
};

TEST_F(LockRefusedRenewal, IsNotSentAgainBehindALongerExtension) {
  Lock lock(client, "job", {.ttl = ttl});
  proxy.hold();
  raw.command({"SCRIPT", "FLUSH"});
  ASSERT_TRUE(eventually([&] { return raw.errors("NOSCRIPT") == 1; }));
  raw.command({"SCRIPT", "LOAD", std::string(protocol::extend_script.text)});
  std::atomic<bool> extended = false;
  std::jthread extending([&] { extended = lock.extend(60s); });
  ASSERT_TRUE(eventually([&] { return raw.pttl("job") > 50'000; }));
  proxy.let_go();
  extending.join();
  EXPECT_TRUE(extended);
  EXPECT_GT(lock.remaining(), 50s);
  EXPECT_TRUE(lock.verify()) << "behind whatever was sent again";
  EXPECT_GT(raw.pttl("job"), 50'000);
  EXPECT_EQ(client.metrics().renewal_failed, 0U);
}

/// It is made anew when its time comes.
TEST_F(LockRefusedRenewal, IsFollowedByTheNextOne) {
  Lock lock(client, "job", {.ttl = ttl});
  proxy.hold();
  raw.command({"SCRIPT", "FLUSH"});
  ASSERT_TRUE(eventually([&] { return raw.errors("NOSCRIPT") == 1; }));
  raw.command({"SCRIPT", "LOAD", std::string(protocol::extend_script.text)});
  std::atomic<bool> extended = false;
  std::jthread extending([&] { extended = lock.extend(ttl + 1ms); });
  ASSERT_TRUE(eventually([&] { return raw.calls("pexpire") == 1; }));
  proxy.let_go();
  extending.join();
  EXPECT_TRUE(extended);
  const auto renewed = client.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client.metrics().renewed >= renewed + 2; }));
  EXPECT_TRUE(lock.owns_lock());
}

/// Two callers are refused in one batch. The retry of the later one is answered when the time of
/// the first, which leads, is over. It is about another script.
TEST(SharedConnectionRefusedCall, HasItsOwnTimeForTheRetry) {
  constexpr std::chrono::milliseconds timeout = 4s;
  ScriptedServer server([](const ScriptedRequest& request) -> std::string {
    if (request.is("SET") && request.words[1] == "held back") return {};
    if (request.is("EVALSHA")) return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    if (request.is("EVAL") && request.words.back() == "60000") return {};  // the extension
    return request.is("EVAL") ? resp::integer(1) : resp::ok;
  });
  Client client(server.url(),
                {.connect_timeout = 20s, .command_timeout = timeout, .connections = 1});
  Lock first(client, "first", long_lease);
  Lock late(client, "late", long_lease);
  std::jthread other([&] {
    error_of([&] { const Lock held_back(client, "held back", std::try_to_lock, long_lease); });
  });
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 3; }));
  const auto start = std::chrono::steady_clock::now();
  const auto is_over = [&](std::chrono::milliseconds time) {
    return eventually([&] { return std::chrono::steady_clock::now() >= start + time; });
  };
  std::jthread unlocking([&] { EXPECT_EQ(first.unlock(), Unlock::released); });
  ASSERT_TRUE(is_over(timeout / 2));
  std::error_code failure;
  std::jthread extending([&] { failure = error_of([&] { EXPECT_TRUE(late.extend(60s)); }); });
  ASSERT_TRUE(is_over(timeout * 5 / 8));
  server.say(1, resp::ok);
  ASSERT_TRUE(eventually([&] { return server.count("EVAL") == 2; }));
  ASSERT_TRUE(is_over(timeout * 9 / 8));
  server.say(1, resp::integer(1));
  extending.join();
  EXPECT_FALSE(failure) << failure.message();
  EXPECT_EQ(server.connections(), 1U);
}

/// A renewal for a majority has a caller. It is in one batch with the extension, behind a command
/// whose answer is held back.
TEST(RedlockRefusedRenewal, IsNotSentAgainBehindALongerExtension) {
  ScriptedServer server([](const ScriptedRequest& request) -> std::string {
    if (request.is("SET") && request.words[1] == "held back") return {};
    if (request.is("EVALSHA") && request.words.back() == "3000") {
      return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    }
    return request.is("EVALSHA") || request.is("EVAL") ? resp::integer(1) : resp::ok;
  });
  Quorum quorum({server.url()}, {.client = single(), .server_timeout = 10s});
  Redlock lock(quorum, "job", {.ttl = ttl});
  const std::size_t before = server.count("EVAL");  // in the greeting
  std::jthread other([&] { const Redlock held_back(quorum, "held back", long_lease); });
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 2; }));
  ASSERT_TRUE(eventually([&] { return lock.remaining() < ttl / 2; })) << "a renewal is queued";
  std::jthread extending([&] { EXPECT_TRUE(lock.extend(60s)); });
  ASSERT_TRUE(eventually([&] { return lock.remaining() < ttl / 3; })) << "so is the extension";
  server.say(1, resp::ok);
  extending.join();
  EXPECT_GT(lock.remaining(), 50s);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("EVAL"), before);
}

}  // namespace retry_order_test
}  // namespace redlatch::test
