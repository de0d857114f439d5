// A client of a cluster whose process is stopped while it asks some nodes about another one: what
// they have said meanwhile is in its sockets, or they have to be asked again.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <redlatch/redlatch.hpp>

#include "child.hpp"
#include "eventually.hpp"
#include "scripted_server.hpp"
#include "shared_memory.hpp"

namespace redlatch::test {
namespace stopped_cluster_client_test {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto connect_timeout = 1s;
/// How long nodes have to say whether another one was replaced, where none of them answers.
constexpr auto time_for_any = 2s;
/// Where one does.
constexpr auto time_for_two = 500ms;
/// And if the process was not stopped meanwhile.
constexpr auto time_to_confirm = 400ms;

/// What the client does, once it has had the lock.
enum class Task { acquire, keep };

struct Shared {
  std::array<char, 64> url{};
  std::atomic<bool> begins = false;
  std::atomic<bool> is_connected = false;
  std::atomic<bool> goes_on = false;
  std::atomic<bool> is_done = false;
  std::atomic<bool> has = false;  // the lock, or its renewal
  std::atomic<bool> is_disconnected = false;
  std::atomic<Clock::time_point> disconnected_at{};
  std::atomic<Clock::time_point> done_at{};
  std::array<char, 512> error{};
};

void use(Shared& shared, Task task) {
  eventually([&] { return shared.begins.load(); });
  ClientOptions options{
      .connect_timeout = connect_timeout, .command_timeout = 20s, .connections = 1};
  options.on_event = [&](const Event& event) {
    if (event.kind != EventKind::disconnected || !shared.goes_on) return;
    shared.disconnected_at = Clock::now();
    shared.is_disconnected = true;
  };
  Client client(shared.url.data(), options);
  const auto tries = [&](auto action) {
    try {
      action();
      return true;
    } catch (const Error& error) {
      std::string_view(error.what()).copy(shared.error.data(), shared.error.size() - 1);
      return false;
    }
  };
  Lock lock(client, "job", std::defer_lock, {.ttl = 9s});
  eventually([&] { return tries([&] { lock.lock(); }); });
  if (task == Task::acquire) lock.unlock();
  shared.is_connected = true;
  eventually([&] { return shared.goes_on.load(); });
  if (task == Task::acquire) {
    tries([&] { shared.has = lock.try_lock(); });
  } else {
    const auto ends = [&] { return client.metrics().renewed > 0 || client.metrics().lost > 0; };
    shared.has = eventually(ends, 20s) && client.metrics().renewed > 0;
  }
  shared.done_at = Clock::now();
  shared.is_done = true;
}

/// One primary and two replicas.
class StoppedClientOfACluster : public testing::Test {
 protected:
  static constexpr std::size_t primary = 0;
  static constexpr std::size_t second = 1;
  static constexpr std::size_t third = 2;

  /// The child is forked before there are threads.
  void start(Task task) {
    child.emplace([this, task] { use(*shared, task); });
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      nodes[i].emplace([this, i](const ScriptedRequest& request) { return answer(i, request); });
    }
    for (const auto& node : nodes) {
      addresses.push_back(node->url().substr(std::string_view("redis://").size()));
    }
    are_listed = true;
    ("redis-cluster://" + addresses[primary]).copy(shared->url.data(), shared->url.size() - 1);
    shared->begins = true;
    ASSERT_TRUE(eventually([&] { return shared->is_connected.load(); }, 30s));
  }
  std::string map(std::string_view part, std::size_t owner) const {
    if (part == "NODES") {
      return resp::bulk("one " + addresses[owner] + "@0 master - 0 0 " +
                        (owner == third ? "2" : "1") + " connected 0-16383\n");
    }
    std::vector<std::string> range{resp::integer(0), resp::integer(16383), entry(owner)};
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (i != owner) range.push_back(entry(i));
    }
    return resp::array({resp::array(range)});
  }
  /// Until the client has stood still for that long.
  void stop_for(std::chrono::milliseconds time) {
    child->stop();
    EXPECT_TRUE(passes(time));
  }
  void go_on() {
    went_on = Clock::now();
    child->go_on();
    EXPECT_TRUE(eventually([&] { return shared->is_done.load(); }, 30s));
  }

  /// From the first question on, for longer than nodes have for an answer.
  void stop_until_others_have_answered() {
    for (auto& one : is_silent) one = true;
    shared->goes_on = true;
    ASSERT_TRUE(eventually([&] { return asked[second] > 0 && asked[third] > 0; }));
    child->stop();
    for (const std::size_t node : {second, third}) {
      is_silent[node] = false;
      nodes[node]->say(asked[node], map("NODES", primary));
    }
    stop_for(time_for_any + time_for_two);
    go_on();
  }

  /// On a busy machine, the time that the others have once more is not enough for all of them.
  void expect_no_hurry() const {
    if (!shared->has) {
      EXPECT_TRUE(eventually([&] { return shared->is_disconnected.load(); }));
    }
    const Clock::duration late = shared->disconnected_at.load() - went_on;
    EXPECT_TRUE(!shared->is_disconnected || late < 0s || late >= time_for_two)
        << late.count() << shared->error.data();
  }

  const SharedMemory<Shared> shared{};
  std::optional<Child> child{};
  std::vector<std::string> addresses{};
  std::atomic<bool> are_listed = false;
  std::array<std::atomic<bool>, 3> is_silent{};     // about the map
  std::array<std::atomic<std::size_t>, 3> asked{};  // the connection, while it is silent
  std::array<std::atomic<int>, 3> told{};           // the slots
  std::atomic<bool> is_replaced = false;            // the primary, by the word of the third
  std::atomic<bool> is_slow = false;                // the third, about the map
  std::atomic<int> slow_answers = 0;
  Clock::time_point went_on{};
  std::array<std::optional<ScriptedServer>, 3> nodes{};

 private:
  std::string entry(std::size_t node) const {
    const std::size_t port = std::stoul(addresses[node].substr(addresses[node].find(':') + 1));
    return resp::array({resp::bulk("127.0.0.1"), resp::integer(static_cast<long long>(port)),
                        resp::bulk(std::to_string(node))});
  }
  std::string answer(std::size_t node, const ScriptedRequest& request) {
    if (request.is("CLUSTER") && are_listed) {
      if (is_silent[node]) {
        asked[node] = request.connection;
        return {};
      }
      if (node == third && is_slow) {
        ++slow_answers;
        std::this_thread::sleep_for(50ms);
      }
      if (request.words[1] == "SLOTS") ++told[node];
      return map(request.words[1], node == third && is_replaced ? third : primary);
    }
    if (request.is("CONFIG")) {
      return resp::array({resp::bulk("cluster-node-timeout"), resp::bulk("0")});
    }
    if (request.is("SET") && node == third) return resp::nil;
    return request.is("EVALSHA") || request.is("EVAL") ? resp::integer(1) : resp::ok;
  }
};

TEST_F(StoppedClientOfACluster, HearsTheOtherNodesBeforeItGivesUp) {
  start(Task::acquire);
  stop_until_others_have_answered();
  expect_no_hurry();
  EXPECT_TRUE(shared->has || shared->is_disconnected) << shared->error.data();
}

TEST_F(StoppedClientOfACluster, HearsTheOtherNodesAboutARenewal) {
  start(Task::keep);
  stop_until_others_have_answered();
  expect_no_hurry();
  EXPECT_TRUE(shared->has);
}

/// The one that has answered was cut off together with the primary.
TEST_F(StoppedClientOfACluster, DoesNotBelieveANodeByTheWordOfOneAsTheOtherOneHadNoTime) {
  start(Task::acquire);
  is_silent[primary] = is_silent[third] = true;
  const int before = told[second];
  shared->goes_on = true;
  // It is asked again when its first answer was heard.
  ASSERT_TRUE(eventually([&] { return asked[third] > 0 && told[second] >= before + 2; }));
  child->stop();
  is_replaced = true;
  is_silent[third] = false;
  stop_for(connect_timeout + time_for_two);
  go_on();
  // On a busy machine, it was done before it was stopped, or the time was not enough.
  const Clock::duration late = shared->done_at.load() - went_on;
  EXPECT_TRUE(!shared->has || late < 0s || late >= time_for_two) << late.count();
}

class StoppedClientOfAClusterForLess
    : public StoppedClientOfACluster,
      public testing::WithParamInterface<std::chrono::milliseconds> {};

INSTANTIATE_TEST_SUITE_P(Stops, StoppedClientOfAClusterForLess,
                         testing::Values(time_to_confirm - 15ms, connect_timeout - 50ms),
                         [](const auto& test) { return std::to_string(test.param.count()); });

/// It goes on just before a time of the other one is over, of which that had nothing.
TEST_P(StoppedClientOfAClusterForLess, DoesNotBelieveANodeByTheWordOfOne) {
  start(Task::acquire);
  is_slow = is_replaced = true;
  const int before = told[second];
  shared->goes_on = true;
  ASSERT_TRUE(eventually([&] { return slow_answers > 0 && told[second] > before; }));
  stop_for(GetParam());
  go_on();
  // On a busy machine, it was done before it was stopped, or the time was not enough.
  const Clock::duration late = shared->done_at.load() - went_on;
  EXPECT_TRUE(!shared->has || late < 0s || late >= time_to_confirm) << late.count();
}

}  // namespace stopped_cluster_client_test
}  // namespace redlatch::test
