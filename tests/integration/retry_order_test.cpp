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

ClientOptions single() {
  ClientOptions options = patient();
  options.connections = 1;
  return options;
}

/// The replies of the server are held back between a renewal that it refuses and an extension that
/// it carries out, since the script has been loaded again in between.
class RefusedRenewal : public testing::Test {
 protected:
  RedisServer server{};
  RawClient raw{server.socket()};
  Proxy proxy{server.socket()};
  Client client{proxy.url(), single()};
};

TEST_F(RefusedRenewal, IsNotSentAgainBehindALongerExtension) {
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
TEST_F(RefusedRenewal, IsFollowedByTheNextOne) {
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

/// A renewal for a majority has a caller. It is in one batch with the extension, behind a command
/// whose answer is held back.
TEST(RefusedRenewalOfARedlock, IsNotSentAgainBehindALongerExtension) {
  ScriptedServer server([](const ScriptedRequest& request) -> std::string {
    if (request.is("SET") && request.words[1] == "held back") return {};
    if (request.is("EVALSHA") && request.words.back() == "3000") {
      return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    }
    return request.is("EVALSHA") || request.is("EVAL") ? resp::integer(1) : resp::ok;
  });
  Quorum quorum({server.url()}, {.client = single(), .server_timeout = 10s});
  Redlock lock(quorum, "job", {.ttl = ttl});
  std::jthread other([&] { const Redlock held_back(quorum, "held back", long_lease); });
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 2; }));
  ASSERT_TRUE(eventually([&] { return lock.remaining() < ttl / 2; })) << "a renewal is queued";
  std::jthread extending([&] { EXPECT_TRUE(lock.extend(60s)); });
  ASSERT_TRUE(eventually([&] { return lock.remaining() < ttl / 3; })) << "so is the extension";
  server.say(1, resp::ok);
  extending.join();
  EXPECT_GT(lock.remaining(), 50s);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("EVAL"), 0U);
}

}  // namespace retry_order_test
}  // namespace redlatch::test
