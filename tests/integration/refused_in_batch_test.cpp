// A script that the server has forgotten, in one batch with other callers' commands.

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace refused_in_batch_test {

const std::string silence;

/// The first SET is held back, so that a batch forms behind it: SET one, EVALSHA refused, SET
/// other.
class ClientRefusedInBatch : public testing::Test {
 protected:
  explicit ClientRefusedInBatch(std::chrono::milliseconds command_timeout = 20s)
      : client(server.url(),
               {.connect_timeout = 20s, .command_timeout = command_timeout, .connections = 1}) {}

  std::string handle(const ScriptedRequest& request) {
    if (request.is("SET") && request.words[1] == "first") return silence;
    if (request.is("SET") && request.words[1] == "unanswered") return silence;
    if (request.is("EVALSHA") && request.words[3] == "refused") {
      return resp::error("NOSCRIPT No matching script. Please use EVAL.");
    }
    if (request.is("EVALSHA")) return resp::integer(1);
    return request.is("EVAL") ? silence : resp::ok;
  }

  /// Lets those before queue up, which cannot be seen from outside; without that a test shows less.
  static void let_queue() { std::this_thread::sleep_for(200ms); }
  /// Lets the batch go that has formed behind the first one.
  void let_go() {
    let_queue();
    server.say(1, resp::ok);
  }

  ScriptedServer server{[this](const ScriptedRequest& request) { return handle(request); }};
  Client client;
  Lock refused{client, "refused", long_lease};
};

TEST_F(ClientRefusedInBatch, KeepsNobodyElseFromItsAnswer) {
  std::jthread first([&] { const Lock lock(client, "first", long_lease); });
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 2; }));
  std::atomic<int> held = 0;
  const auto take = [&](const char* key) {
    const Lock lock(client, key, std::try_to_lock, long_lease);
    if (lock) ++held;
  };
  std::jthread one([&] { take("one"); });
  std::optional<Unlock> unlocked;
  std::jthread unlocking([&] { unlocked = refused.unlock(); });
  std::jthread other([&] { take("other"); });
  let_go();
  EXPECT_TRUE(eventually([&] { return held == 2; }));
  EXPECT_TRUE(eventually([&] { return server.count("EVAL") == 1; }));
  server.say(1, resp::integer(1));
  unlocking.join();
  EXPECT_EQ(unlocked, Unlock::released);
}

class ClientRefusedBeforeSilence : public ClientRefusedInBatch {
 protected:
  ClientRefusedBeforeSilence() : ClientRefusedInBatch(2s) {}
};

TEST_F(ClientRefusedBeforeSilence, KeepsNoUndoFromItsPlaceBehindTheAttempt) {
  std::jthread first([&] { const Lock lock(client, "first", long_lease); });
  ASSERT_TRUE(eventually([&] { return server.count("SET") == 2; }));
  std::jthread unlocking([&] { EXPECT_EQ(refused.unlock(), Unlock::unknown); });
  let_queue();
  std::jthread attempt([&] {
    const Error error = thrown_by([&] { const Lock lock(client, "unanswered", long_lease); });
    EXPECT_TRUE(error.in_doubt()) << error.what();
  });
  let_go();
  unlocking.join();
  attempt.join();
  const auto undone_on = [&]() -> std::size_t {
    for (const ScriptedRequest& request : server.requests()) {
      if (request.is("EVALSHA") && request.words[3] == "unanswered") return request.connection;
    }
    return 0;
  };
  ASSERT_TRUE(eventually([&] { return undone_on() != 0; }));
  EXPECT_EQ(undone_on(), 1U);
}

}  // namespace refused_in_batch_test
}  // namespace redlatch::test
