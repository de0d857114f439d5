// What a connection that hangs does to those who use another one.

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "fixture.hpp"
#include "scripted_server.hpp"
#include "sleeps.hpp"

namespace redlatch::test {
namespace two_connections_test {

const std::string silence;

/// "well" and `ill` are on connections of their own; that of `ill` can be ended, and those that are
/// made then say nothing.
class ClientTwoConnections : public testing::Test {
 protected:
  void connect(ClientOptions options, std::chrono::milliseconds ttl) {
    options.connections = 2;
    client = std::make_unique<Client>(server.url(), options);
    well = std::make_unique<Lock>(*client, "well", LockOptions{.ttl = ttl});
    do {
      ill += "!";
      Lock(*client, ill, long_lease).unlock();
    } while (connection_of(ill) == connection_of("well"));
  }
  void end_connection_of_ill() {
    Lock lock(*client, ill, long_lease);
    was_connected = server.connections();
    ends = true;
    static_cast<void>(lock.extend());
    ASSERT_TRUE(eventually([&] { return !ends; }));
  }
  /// From now on the first of those that were silent says what it owes.
  void answer_silent_one() {
    const std::size_t silent = was_connected + 1;
    const auto hold = server.hold();
    silent_ones = 0;
    for (const ScriptedRequest& request : server.requests()) {
      if (request.connection == silent) server.say(silent, resp::ok);
    }
  }
  std::size_t connection_of(const std::string& key) {
    std::size_t connection = 0;
    for (const ScriptedRequest& request : server.requests()) {
      if (request.is("SET") && request.words.at(1) == key) connection = request.connection;
    }
    return connection;
  }

  std::string ill = "ill";
  std::atomic<bool> ends = false;
  std::atomic<bool> keeps_ill_waiting = false;
  std::atomic<std::size_t> was_connected = 1000;
  std::atomic<std::size_t> silent_ones = 1000;
  ScriptedServer server{[this](const ScriptedRequest& request) {
    if (request.connection > was_connected && request.connection <= was_connected + silent_ones) {
      return silence;
    }
    if (keeps_ill_waiting && request.is("SET") && request.words.at(1) == ill) return silence;
    if (ends.exchange(false)) server.close_after_answer();
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  }};
  std::unique_ptr<Client> client{};
  std::unique_ptr<Lock> well{};
};

TEST_F(ClientTwoConnections, AreForTwoThreadsWhoseKeysHaveTheSameOne) {
  connect({.connect_timeout = 20s, .command_timeout = 5s}, 60s);
  std::string quick = "quick";
  do {
    quick += "!";
    Lock(*client, quick, long_lease).unlock();
  } while (connection_of(quick) != connection_of(ill));
  const std::size_t shared = connection_of(ill);
  const std::size_t before = server.count("SET");
  keeps_ill_waiting = true;
  std::jthread waits([&] {
    EXPECT_EQ(error_of([&] { const Lock slow(*client, ill, long_lease); }), std::error_code());
  });
  ASSERT_TRUE(eventually([&] { return server.count("SET") > before; }));
  EXPECT_EQ(error_of([&] { const Lock lock(*client, quick, long_lease); }), std::error_code());
  EXPECT_NE(connection_of(quick), shared);
  server.say(shared, resp::ok);
}

TEST_F(ClientTwoConnections, DoNotKeepEachOthersLocksFromBeingRenewed) {
  connect({.connect_timeout = 20s, .command_timeout = 100ms}, 3s);
  std::list<Lock> others;
  for (int i = 0; i < 8; ++i) others.emplace_back(*client, ill, std::defer_lock, long_lease);
  for (Lock& lock : others) lock.lock();
  end_connection_of_ill();
  others.clear();
  const auto before = client->metrics().renewed;
  EXPECT_TRUE(eventually([&] { return client->metrics().renewed >= before + 2; }));
  EXPECT_TRUE(well->owns_lock());
}

/// The background gives way then, which says nothing about the server.
TEST_F(ClientTwoConnections, DoNotFailBecauseOfAnAcquisitionOnTheOther) {
  silent_ones = 1;
  connect({.connect_timeout = 20s, .command_timeout = 10s}, 60s);
  well->unlock();
  Lock released(*client, ill, long_lease);
  end_connection_of_ill();
  { const Lock dropped = std::move(released); }
  ASSERT_TRUE(eventually([&] { return server.connections() > was_connected; }));
  std::atomic<pid_t> thread = 0;
  std::atomic<bool> over = false;
  std::jthread caller([&] {
    thread = ::gettid();
    EXPECT_EQ(error_of([&] { static_cast<void>(Lock(*client, ill, std::try_to_lock)); }),
              std::error_code());
    over = true;
  });
  ASSERT_TRUE(eventually([&] { return thread != 0 && sleeps(thread); }));
  const auto before = client->metrics().renewed;
  const Lock other(*client, "well", {.ttl = 3s});
  EXPECT_TRUE(eventually([&] { return client->metrics().renewed > before; }));
  answer_silent_one();
  EXPECT_TRUE(eventually([&] { return over.load(); }));
}

}  // namespace two_connections_test
}  // namespace redlatch::test
