#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fixture.hpp"
#include "scripted_server.hpp"
#include "slow_link.hpp"

namespace redlatch::test {
namespace watch_test {

/// The conversation with a server that runs no scripts: WATCH, EXISTS, GETRANGE, MULTI, then DEL or
/// PEXPIRE, and EXEC. `change` takes the place of single answers; an empty one leaves the answer as
/// it is.
class LockWatch : public testing::Test {
 protected:
  std::string answer(const ScriptedRequest& request) {
    if (is_silent) return {};
    if (change) {
      if (const std::string changed = change(request); !changed.empty()) return changed;
    }
    if (request.is("COMMAND")) return resp::array({resp::nil_array, resp::nil_array});
    if (request.is("SET")) token = request.words[2];
    if (request.is("EXISTS")) return resp::integer(1);
    if (request.is("GETRANGE")) return resp::bulk(token);
    if (request.is("DEL") || request.is("PEXPIRE")) return resp::status("QUEUED");
    if (request.is("EXEC")) return resp::array({resp::integer(1)});
    return resp::ok;
  }

  static ClientOptions options() {
    ClientOptions options = patient();
    options.command_timeout = 1s;
    options.scripting = false;
    return options;
  }

  using Change = std::function<std::string(const ScriptedRequest&)>;
  void set_change(Change to) {
    const auto held = server.hold();
    change = std::move(to);
  }

  void set_silent(bool to) {
    const auto held = server.hold();
    is_silent = to;
  }

  Change change{};
  bool is_silent = false;
  std::string token{};  // that the server holds
  ScriptedServer server{[this](const ScriptedRequest& request) { return answer(request); }};
  Client client{server.url(), options()};
};

TEST_F(LockWatch, GuardsTheDeletion) {
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  std::vector<std::string> names;
  for (const ScriptedRequest& request : server.requests()) names.push_back(request.name());
  EXPECT_EQ(names, (std::vector<std::string>{"COMMAND", "SET", "WATCH", "EXISTS", "GETRANGE",
                                             "MULTI", "DEL", "EXEC"}));
}

TEST_F(LockWatch, StartsAgainWhenTheKeyChangedMeanwhile) {
  int times = 0;
  set_change([&](const ScriptedRequest& request) {
    return request.is("EXEC") && ++times <= 3 ? resp::nil_array : std::string();
  });
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(server.count("WATCH"), 4U);
}

TEST_F(LockWatch, LeavesAKeyAloneThatWasTakenOverMeanwhile) {
  bool taken_over = false;
  set_change([&](const ScriptedRequest& request) {
    if (request.is("GETRANGE") && taken_over) return resp::bulk("a stranger");
    if (!request.is("EXEC")) return std::string();
    taken_over = true;
    return resp::nil_array;
  });
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::lost);
  EXPECT_EQ(server.count("DEL"), 1U) << "the one that was not carried out";
}

TEST_F(LockWatch, GivesUpOnAKeyThatNeverStopsChanging) {
  set_change([](const ScriptedRequest& request) {
    return request.is("EXEC") ? resp::nil_array : std::string();
  });
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  set_change({});
}

/// The time is over between two round trips.
TEST_F(LockWatch, ThatRunsOutOfTimeKeepsItsConnection) {
  std::atomic<bool> changes = true;
  std::atomic<bool> is_over = false;
  set_change([&](const ScriptedRequest& request) {
    if (!request.is("EXEC")) return std::string();
    if (changes) return resp::nil_array;
    is_over = true;
    return resp::array({resp::integer(1)});
  });
  Lock lock(client, "job", long_lease);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 1900ms) << "it is repeated in the background";
  changes = false;
  ASSERT_TRUE(eventually([&] { return is_over.load(); }));
  for (const ScriptedRequest& request : server.requests()) {
    EXPECT_EQ(request.connection, 1U) << request.name();
  }
  set_change({});
}

TEST_F(LockWatch, DeletesNothingWhereTransactionsAreRefused) {
  set_change([](const ScriptedRequest& request) {
    return request.is("MULTI")
               ? resp::error("NOPERM this user has no permissions to run the 'multi' command")
               : std::string();
  });
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_EQ(server.count("DEL"), 0U) << "it would be carried out at once, without a guard";
  set_change({});
}

TEST_F(LockWatch, OfAnExtensionSaysWhyItWasRefused) {
  set_change([](const ScriptedRequest& request) {
    return request.is("EXEC")
               ? resp::error("EXECABORT Transaction discarded because of: READONLY You can't write")
               : std::string();
  });
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(error_of([&] { static_cast<void>(lock.extend()); }), Errc::not_writable);
  set_change({});
}

/// A server that ends closes several connections at once, which is no refusal of WATCH.
TEST_F(LockWatch, IsUsedAgainAfterTheEndOfAServer) {
  std::list<Lock> locks;
  std::map<std::size_t, Lock*> by_connection;
  for (int i = 0; i < 8; ++i) {
    locks.emplace_back(client, "job:" + std::to_string(i), long_lease);
    by_connection[server.requests().back().connection] = &locks.back();
  }
  ASSERT_GT(by_connection.size(), 1U);
  set_silent(true);
  {
    std::list<std::jthread> threads;
    for (const auto& [connection, lock] : by_connection) {
      threads.emplace_back([&lock = *lock] { EXPECT_EQ(lock.unlock(), Unlock::unknown); });
    }
    EXPECT_TRUE(eventually([&] { return server.count("WATCH") == by_connection.size(); }));
    set_silent(false);
    server.close_all();
  }
  Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// One after the other, they take longer than a command may, and no longer than all of them may.
TEST(LockWatchOfAFarServer, KeepsTheConnectionForManyReleases) {
  constexpr std::size_t many = 40;
  RedisServer server(only_watch());
  RawClient(server.socket()).command({"ACL", "SETUSER", "default", "-@scripting"});
  const SlowLink link(server.socket(), 20ms);
  ClientOptions options = less_patient();
  options.connections = 1;
  Client client("redis://127.0.0.1:" + std::to_string(link.port()), options);
  {
    std::list<Lock> locks;
    for (std::size_t i = 0; i < many; ++i) {
      locks.emplace_back(client, "job:" + std::to_string(i), long_lease);
    }
  }
  EXPECT_TRUE(eventually([&] { return client.metrics().released == many; }, 30s));
  EXPECT_EQ(client.metrics().release_unknown, 0U);
  EXPECT_EQ(client.metrics().disconnected, 0U);
}

}  // namespace watch_test
}  // namespace redlatch::test
