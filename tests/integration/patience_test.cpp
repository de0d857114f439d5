// Which call waits for which on one connection, and for how long.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "descriptor_limit.hpp"
#include "entries.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace patience_test {

const std::string silence;

bool is_greeting(const ScriptedRequest& request) { return request.is("SCRIPT"); }

TEST(ClientTurns, AreTakenInTheOrderOfAsking) {
  const RedisServer server;
  ClientOptions options = patient();
  options.connections = 1;
  Client client(server.url(), options);
  constexpr std::size_t threads = 48;
  std::vector<std::size_t> cycles(threads);
  {
    std::atomic<std::size_t> total = 0;
    std::vector<std::jthread> workers;
    for (std::size_t i = 0; i < threads; ++i) {
      workers.emplace_back([&, i] {
        Lock lock(client, "job:" + std::to_string(i), std::defer_lock);
        while (total < 12000) {
          lock.lock();
          static_cast<void>(lock.unlock());
          ++cycles[i];
          ++total;
        }
      });
    }
  }
  const auto [least, most] = std::minmax_element(cycles.begin(), cycles.end());
  EXPECT_GT(2 * *least, *most) << *least << " to " << *most;
}

TEST(ConnectPolicy, IsCountedOnceHoweverManyDoIt) {
  constexpr auto connect_timeout = 4s;
  constexpr auto command_timeout = 1s;
  const auto start = std::chrono::steady_clock::now();
  const ScriptedServer slow([&](const ScriptedRequest& request) {
    if (request.connection > 1 || !is_greeting(request)) return silence;
    std::this_thread::sleep_until(start + 3s);  // most of connect_timeout is over then
    return resp::ok;
  });
  Client client(
      slow.url(),
      {.connect_timeout = connect_timeout, .command_timeout = command_timeout, .connections = 1});
  const std::jthread first([&] { error_of([&] { client.ping(); }); });
  ASSERT_TRUE(eventually([&] { return slow.connections() == 1; }));
  // It waits for the first one to connect and to get no answer; then there is little left of its
  // own.
  EXPECT_LT(duration_of([&] { EXPECT_TRUE(error_of([&] { client.ping(); })); }),
            connect_timeout + command_timeout + 2s);
}

TEST(ConnectPolicy, ThatFailedForLackOfTimeIsNotSharedWithThePatient) {
  std::atomic<bool> held = false;
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (held && request.connection == 2) return silence;
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  Client client(server.url(), {.connect_timeout = 20s, .command_timeout = 1s, .connections = 1});
  Lock lock(client, "job", long_lease);
  held = true;
  server.close_all();
  // Connects to a server that does not answer its greeting, with no more time than a command has.
  const std::jthread hasty([&] { EXPECT_EQ(lock.unlock(), Unlock::unknown); });
  ASSERT_TRUE(eventually([&] { return server.connections() == 2; }));
  EXPECT_FALSE(error_of([&] { client.ping(); }));
}

TEST(ClientLastUse, WaitsOnceForASilentServer) {
  constexpr auto command_timeout = 4s;
  const ScriptedServer server(
      [](const ScriptedRequest& request) { return request.is("EVALSHA") ? silence : resp::ok; });
  auto client = std::make_unique<Client>(
      server.url(), ClientOptions{.connect_timeout = 20s, .command_timeout = command_timeout});
  auto lock = std::make_unique<Lock>(*client, "job", long_lease);
  client.reset();
  EXPECT_LT(duration_of([&] { lock.reset(); }), command_timeout + 3s);
}

TEST(ClientReleases, AreDoneOnceThereIsADescriptorAgain) {
  RedisServer server;
  RawClient raw(server.socket());
  Client client(server.url(), patient());
  Lock lock(client, "job", long_lease);
  raw.command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});

  {
    const DescriptorLimit none(3);
    EXPECT_EQ(lock.unlock(), Unlock::unknown);
  }
  EXPECT_TRUE(raw.exists("job"));

  const Lock other(client, "another job");
  EXPECT_TRUE(eventually([&] { return !raw.exists("job"); }));
}

TEST(ClientReleases, BehindABrokenConnectionAreRepeatedHoweverLongTheOutageWas) {
  ScriptedServer server([&](const ScriptedRequest& request) {
    if (request.is("SET")) server.close_after_answer();
    if (request.is("SET") || (request.connection > 1 && request.connection < 5)) return silence;
    return request.is("EVALSHA") ? resp::integer(0) : resp::ok;
  });
  Client client(server.url(), {.connect_timeout = 50ms, .command_timeout = 50ms, .connections = 1});
  EXPECT_TRUE(thrown_by([&] { const Lock lock(client, "job", long_lease); }).in_doubt());
  EXPECT_TRUE(eventually([&] { return server.count("EVALSHA") >= 2; }));
}

TEST(ClientOfASilentServer, DoesNotMakeConnectionsPileUp) {
  const ScriptedServer server([](const ScriptedRequest& request) {
    return request.is("SET") || request.is("EVALSHA") ? silence : resp::ok;
  });
  Client client(server.url(), {.connect_timeout = 20s, .command_timeout = 10ms, .connections = 1});
  const auto descriptors = [] { return entries("/proc/self/fd"); };
  const auto before = descriptors();
  Lock lock(client, "job", std::defer_lock, long_lease);
  while (server.connections() < 60) {
    EXPECT_EQ(error_of([&] { static_cast<void>(lock.try_lock()); }), Errc::timed_out);
  }
  // Both ends are in this process, and the server is told of an end a little later.
  EXPECT_TRUE(eventually([&] { return descriptors() - before < 60; }));
}

}  // namespace patience_test
}  // namespace redlatch::test
