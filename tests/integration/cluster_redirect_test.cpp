// Redirects and refusals by the nodes of a cluster, each of which says what a test wants it to.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <redlatch/protocol/queue.hpp>
#include <redlatch/protocol/side_key.hpp>

#include "cluster.hpp"
#include "entries.hpp"
#include "eventually.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace cluster_redirect_test {

/// Two nodes that say which of them has all slots, and each its own about a key.
class ClientOfScriptedCluster : public testing::Test {
 protected:
  using Answer = std::function<std::string(const ScriptedRequest&)>;

  std::string address(std::size_t node) const {
    return nodes[node].url().substr(std::string_view("redis://").size());
  }
  std::string url() const { return "redis-cluster://" + address(0); }
  std::string to(std::size_t node) const {
    return " " + std::to_string(protocol::slot_of("job")) + " " + address(node);
  }
  /// How often the key was asked for.
  std::size_t attempts(std::size_t node) const { return nodes[node].count("SET"); }

  std::atomic<std::size_t> owner = 0;  // of all slots
  std::atomic<int> epoch = 1;
  bool has_replica = false;                  // the node that has no slots
  std::atomic<int> node_timeout = -1;        // in milliseconds; negative: no node tells it
  std::atomic<bool> has_failed = false;      // the owner, by the word of the other node
  std::atomic<bool> does_other_tell = true;  // the map
  std::atomic<bool> tells_once = false;      // and no node a second time
  std::atomic<bool> is_silent = false;       // no node tells it
  // To anything, before all others; empty: these answer.
  std::function<std::string(std::size_t node, const ScriptedRequest&)> first_answer{};
  // To an attempt. A lock is released by a script, with success.
  std::array<Answer, 2> answers{[](const ScriptedRequest&) { return resp::ok; },
                                [](const ScriptedRequest&) { return resp::ok; }};

 private:
  std::string answer(std::size_t node, const ScriptedRequest& request) {
    if (first_answer) {
      if (std::string first = first_answer(node, request); !first.empty()) return first;
    }
    if (request.is("CLUSTER")) {
      if (is_silent || (node != owner && !does_other_tell)) return {};
      if (request.words[1] == "NODES") return states(node);
      is_silent = tells_once.load();
      return slots();
    }
    if (request.is("CONFIG") && node_timeout >= 0) {
      return resp::array(
          {resp::bulk("cluster-node-timeout"), resp::bulk(std::to_string(node_timeout))});
    }
    if (request.is("SET")) return answers[node](request);
    return request.is("EVALSHA") || request.is("EVAL") ? resp::integer(1) : resp::ok;
  }
  std::string states(std::size_t told_by) const {
    const std::string flags = has_failed && told_by != owner ? "master,fail" : "master";
    std::string text = "one " + address(owner) + "@0 " + flags + " - 0 0 " + std::to_string(epoch) +
                       " connected 0-16383\n";
    if (has_replica) text += "two " + address(1 - owner) + "@0 slave one 0 0 1 connected\n";
    return resp::bulk(text);
  }
  std::string slots() const {
    const auto entry = [&](std::size_t node, const char* id) {
      const std::string text = address(node);
      const std::size_t colon = text.find(':');
      return resp::array({resp::bulk(text.substr(0, colon)),
                          resp::integer(std::stoi(text.substr(colon + 1))), resp::bulk(id)});
    };
    std::vector<std::string> range{resp::integer(0), resp::integer(16383), entry(owner, "one")};
    if (has_replica) range.push_back(entry(1 - owner, "two"));
    return resp::array({resp::array(range)});
  }

 protected:
  std::array<ScriptedServer, 2> nodes{
      ScriptedServer([this](const ScriptedRequest& request) { return answer(0, request); }),
      ScriptedServer([this](const ScriptedRequest& request) { return answer(1, request); })};
};

TEST_F(ClientOfScriptedCluster, GoesToTheNodeThatHasTheKey) {
  owner = 1;
  Client client(url(), patient());
  const Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(attempts(0), 0U);
  EXPECT_EQ(attempts(1), 1U);
}

TEST_F(ClientOfScriptedCluster, ConnectsToNoNodeForLocksBeforeItKnowsWhichHasTheKey) {
  owner = 1;
  std::atomic<int> connected = 0;
  std::atomic<int> failed = 0;
  ClientOptions options = patient();
  options.on_event = [&](const Event& event) {
    connected += event.kind == EventKind::connected;
    failed += event.kind == EventKind::connect_failed || event.kind == EventKind::disconnected;
  };
  {
    Client client(url(), options);
    const Lock lock(client, "job", long_lease);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_TRUE(eventually([&] { return connected > 0; }));
  }
  EXPECT_EQ(connected, 1);
  EXPECT_EQ(failed, 0);
}

/// It answers again before it can have been replaced.
TEST_F(ClientOfScriptedCluster, TrustsANodeForHalfOfTheNodeTimeout) {
  has_replica = true;
  node_timeout = 1'000'000;
  Client client(url(), patient());
  { const Lock connects(client, "job", long_lease); }
  const std::size_t asked = nodes[1].count("CLUSTER");
  for (int i = 0; i < 3; ++i) const Lock lock(client, "job", long_lease);
  EXPECT_EQ(nodes[1].count("CLUSTER"), asked);
}

/// Nodes may be told a shorter one while they run.
TEST_F(ClientOfScriptedCluster, TrustsANodeForLessOnceTheNodeTimeoutWasMadeShorter) {
  has_replica = true;
  node_timeout = 1'000'000;
  Client client(url(), patient());
  const auto locks = [&] { return !error_of([&] { const Lock lock(client, "job", long_lease); }); };
  EXPECT_TRUE(locks());
  node_timeout = 0;
  const auto asks_each_time = [&] {
    for (int i = 0; i < 4; ++i) {
      const std::size_t asked = nodes[1].count("CLUSTER");
      if (!locks() || nodes[1].count("CLUSTER") == asked) return false;
    }
    return true;
  };
  EXPECT_TRUE(eventually([&] {
    nodes[0].close_all();  // for a new connection, the nodes are asked
    return locks() && asks_each_time();
  }));
}

TEST_F(ClientOfScriptedCluster, AsksOtherNodesAboutOneThatMayHaveBeenReplaced) {
  has_replica = true;
  node_timeout = 0;
  Client client(url(), patient());
  std::size_t asked = nodes[1].count("CLUSTER");
  for (int i = 0; i < 3; ++i) {
    const Lock lock(client, "job", long_lease);
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_GT(nodes[1].count("CLUSTER"), asked);
    asked = nodes[1].count("CLUSTER");
  }
}

/// An election may be under way, of which the other node knows no more than that.
TEST_F(ClientOfScriptedCluster, DoesNotBelieveANodeThatTheOthersTakeForFailed) {
  has_replica = true;
  has_failed = true;
  node_timeout = 0;
  Client client(url(), patient());
  const Error error = thrown_by([&] { const Lock lock(client, "job", std::try_to_lock); });
  EXPECT_EQ(error.code(), Errc::unreachable);
  EXPECT_NE(std::string(error.what()).find("take it for failed"), std::string::npos)
      << error.what();
  EXPECT_EQ(attempts(0), 0U) << "not even the connection is believed";
  has_failed = false;
  EXPECT_TRUE(eventually([&] {
    return !error_of([&] { EXPECT_TRUE(Lock(client, "job", long_lease).owns_lock()); });
  }));
}

/// Each question is a connection, and all clients of the node have it at once.
TEST_F(ClientOfScriptedCluster, AsksOthersNotTooOftenAboutANodeThatTheyTakeForFailed) {
  has_replica = true;
  has_failed = true;
  node_timeout = 0;
  Client client(url(), patient());
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", std::try_to_lock); }), Errc::unreachable);
  constexpr std::size_t commands = 2;
  EXPECT_LE(nodes[1].count("CLUSTER"), 10 * commands);
}

/// No node says any more whether the other one was replaced.
TEST_F(ClientOfScriptedCluster, StopsAtOnceWhileNodesAreAskedAboutAnother) {
  has_replica = true;
  tells_once = true;
  Client client(url(), patient());
  std::stop_source stop;
  std::jthread waiting([&] {
    Lock lock(client, "job", std::defer_lock);
    EXPECT_FALSE(lock.lock(stop.get_token()));
  });
  ASSERT_TRUE(eventually([&] { return nodes[1].count("CLUSTER") > 0; }));
  const auto begun = std::chrono::steady_clock::now();
  stop.request_stop();
  waiting.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 1s);
}

/// One that was cut off together with the primary vouches for it, and the other one is silent: a
/// call that has little time gets no answer, as it cannot wait for two.
TEST(ClientOfACluster, DoesNotBelieveANodeByTheWordOfOneAsItsTimeIsOver) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds wait_for_two{400};
  std::string slots;
  std::atomic<bool> is_silent = false;
  std::atomic<Clock::time_point> granted{};
  const auto tell = [&](const ScriptedRequest& request) {
    if (request.is("CLUSTER")) return request.words[1] == "NODES" ? resp::bulk("") : slots;
    if (request.is("CONFIG")) {
      return resp::array({resp::bulk("cluster-node-timeout"), resp::bulk("0")});
    }
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  };
  ScriptedServer primary([&](const ScriptedRequest& request) {
    if (request.is("SET")) granted = Clock::now();
    return is_silent && request.is("CLUSTER") ? std::string() : tell(request);
  });
  ScriptedServer vouching(tell);
  ScriptedServer silent([&](const ScriptedRequest& request) {
    return is_silent && request.is("CLUSTER") ? std::string() : tell(request);
  });
  const auto host_and_port = [](const ScriptedServer& server) {
    const std::string url = server.url();
    return resp::array({resp::bulk("127.0.0.1"),
                        resp::integer(std::stoi(url.substr(url.rfind(':') + 1))), resp::bulk("")});
  };
  slots = resp::array({resp::array({resp::integer(0), resp::integer(16383), host_and_port(primary),
                                    host_and_port(vouching), host_and_port(silent)})});
  Client client("redis-cluster" + primary.url().substr(std::string_view("redis").size()),
                {.connect_timeout = 20s, .command_timeout = 100ms, .connections = 1});
  EXPECT_TRUE(eventually(
      [&] { return !error_of([&] { const Lock lock(client, "job", long_lease); }); }, 30s));
  is_silent = true;
  const std::size_t asked = vouching.count("CLUSTER");
  try {
    const Lock lock(client, "other", long_lease);
    EXPECT_GE(Clock::now() - granted.load(), wait_for_two) << "on a machine that is so busy";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::timed_out) << error.what();
    EXPECT_TRUE(error.in_doubt());
  }
  EXPECT_TRUE(eventually([&] { return vouching.count("CLUSTER") > asked; }));
  EXPECT_TRUE(eventually(
      [&] { return !error_of([&] { const Lock lock(client, "job", long_lease); }); }, 30s))
      << "the word of one is enough when the other one has had its time";
}

/// It has got its replica since the last map, and that has replaced it.
TEST_F(ClientOfScriptedCluster, AsksANodeWithoutReplicasForANewMapBeforeItIsBelieved) {
  node_timeout = 0;
  Client client(url(), patient());
  EXPECT_TRUE(Lock(client, "job", long_lease).owns_lock());
  answers[0] = [this](const ScriptedRequest&) {
    owner = 1;
    epoch = 2;
    return resp::ok;
  };
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", long_lease); }), Errc::not_writable)
      << "what the former primary has answered is not believed";
  const Lock lock(client, "job", long_lease);
  EXPECT_EQ(attempts(1), 1U);
}

/// It has heard by then that it was replaced, if it can.
TEST_F(ClientOfScriptedCluster, BelievesANodeByItsOwnWordIfNoOtherOneAnswers) {
  has_replica = true;
  does_other_tell = false;
  node_timeout = 0;
  Client client(url(), patient());
  EXPECT_TRUE(Lock(client, "job", long_lease).owns_lock());
  answers[0] = [this](const ScriptedRequest&) {
    owner = 1;
    epoch = 2;
    does_other_tell = true;
    return resp::ok;
  };
  EXPECT_EQ(error_of([&] { const Lock lock(client, "job", long_lease); }), Errc::not_writable)
      << "what the former primary has answered is not believed";
  const Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(attempts(1), 1U);
}

/// The time for asking others about the node is a part of that.
TEST_F(ClientOfScriptedCluster, UnlocksWithinCommandTimeoutAlsoWhereTheNodeAnswersLate) {
  using Clock = std::chrono::steady_clock;
  node_timeout = 0;
  constexpr std::chrono::milliseconds command_timeout{2000};
  Client client(url(), {.connect_timeout = 20s, .command_timeout = command_timeout});
  Lock lock(client, "job", long_lease);
  is_silent = true;
  {
    const auto held = nodes[0].hold();
    const auto is_late = std::make_shared<bool>(true);
    first_answer = [is_late, command_timeout](std::size_t, const ScriptedRequest& request) {
      if (!request.is("EVALSHA") || !std::exchange(*is_late, false)) return std::string();
      const Clock::time_point end = Clock::now() + command_timeout * 3 / 4;
      EXPECT_TRUE(eventually([&] { return Clock::now() >= end; }));
      return resp::integer(1);
    };
  }
  const Clock::time_point begun = Clock::now();
  EXPECT_EQ(lock.unlock(), Unlock::unknown);
  EXPECT_LT(Clock::now() - begun, command_timeout * 5 / 4);
}

/// While it looks for the node, it learns that this is not the primary any more.
TEST_F(ClientOfScriptedCluster, DoesNotConnectToANodeThatHasLostItsSlotsMeanwhile) {
  has_replica = true;
  Client client(url(), patient());
  EXPECT_EQ(Lock(client, "job", long_lease).unlock(), Unlock::released);
  const auto asked = std::chrono::steady_clock::now();
  EXPECT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - asked > 200ms; }))
      << "nodes are asked again 100 ms later at the soonest";
  owner = 1;
  epoch = 2;
  nodes[0].close_all();
  const Lock lock(client, "job", long_lease);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(attempts(0), 1U) << "of the lock before";
  EXPECT_EQ(attempts(1), 1U);
}

/// The nodes have a queue, in which one waiter is the first until they say that it was granted the
/// lock.
class WaiterOfScriptedCluster : public ClientOfScriptedCluster {
 protected:
  WaiterOfScriptedCluster() {
    has_replica = true;
    node_timeout = 0;
    answers[0] = answers[1] = [](const ScriptedRequest&) { return resp::nil; };
    first_answer = [this](std::size_t node, const ScriptedRequest& request) {
      return answer_waiter(node, request);
    };
  }

  /// Publishes that the lock was granted to the waiter with this value.
  void publish(std::size_t node, const std::string& of_entry) {
    nodes[node].say(subscription[node], resp::array({resp::bulk("smessage"), resp::bulk(channel),
                                                     resp::bulk(of_entry + "\njob")}));
  }
  /// Whether the node was told to release the lock with this value.
  bool is_given_back(std::size_t node, const std::string& of_entry) const {
    return std::ranges::any_of(nodes[node].requests(), [&](const ScriptedRequest& request) {
      return request.is("EVALSHA") && request.words.back() == of_entry;
    });
  }

  std::array<std::atomic<std::size_t>, 2> subscription{};  // the connection; 0: none
  std::array<std::atomic<int>, 2> refreshes{};             // of the entry, with the first
  std::array<std::atomic<bool>, 2> has_granted{};          // says each refresh
  std::string channel{};
  std::string value{};  // of the entry

 private:
  std::string answer_waiter(std::size_t node, const ScriptedRequest& request) {
    if (request.is("TYPE")) return resp::status("string");
    if (request.is("PTTL")) return resp::integer(50'000);
    if (request.is("CLIENT") && request.words[1] == "ID") return resp::integer(7);
    if (request.is("SUBSCRIBE")) return subscribed("subscribe", request);
    if (request.is("SSUBSCRIBE")) {
      if (channel.empty()) channel = request.words[1];
      subscription[node] = request.connection;
      return subscribed("ssubscribe", request);
    }
    constexpr std::size_t arguments_of_refresh = 5;
    constexpr std::size_t first = 5;  // behind two keys
    if (!request.is("EVALSHA") || request.words.size() != first + arguments_of_refresh) return {};
    if (value.empty()) value = request.words[first];
    ++refreshes[node];
    constexpr long long expiry = 2'000'000'000'000;
    constexpr auto status = static_cast<long long>(protocol::QueueStatus::first);
    if (!has_granted[node]) return resp::integer(expiry * 8 + status);
    if (node == 0) replace();
    return resp::integer(static_cast<long long>(protocol::QueueStatus::notified));
  }
  static std::string subscribed(const char* how, const ScriptedRequest& request) {
    return resp::array({resp::bulk(how), resp::bulk(request.words[1]), resp::integer(1)});
  }
  void replace() {
    owner = 1;
    epoch = 2;
  }
};

/// The former primary has published a grant as it woke up, which was not believed. When the present
/// one grants the lock, too, its message is read behind the answer that says so.
TEST_F(WaiterOfScriptedCluster, KeepsALockThatAFormerPrimaryHasGrantedBefore) {
  Client client(url(), patient());
  std::atomic<bool> has = false;
  std::jthread waiting([&] {
    const Lock lock(client, "job", 2min, long_lease);
    has = lock.owns_lock();
    EXPECT_TRUE(eventually([&] { return !has; }, 30s));
  });
  ASSERT_TRUE(eventually([&] { return refreshes[0] > 0; }));
  {
    const auto held = nodes[0].hold();
    has_granted[0] = true;
    publish(0, value);
  }
  ASSERT_TRUE(eventually([&] { return refreshes[1] > 0; }));
  has_granted[1] = true;
  ASSERT_TRUE(eventually([&] { return has.load(); }));
  publish(1, value);
  const std::string nobodys = "00000000-0000-4000-8000-000000000000";
  publish(1, nobodys);
  EXPECT_TRUE(eventually([&] { return is_given_back(1, nobodys); }));
  EXPECT_FALSE(is_given_back(1, value));
  has = false;
}

TEST_F(ClientOfScriptedCluster, FollowsAKeyThatWasMoved) {
  answers[0] = [this](const ScriptedRequest&) {
    owner = 1;
    epoch = 2;
    return resp::error("MOVED" + to(1));
  };
  Client client(url(), patient());
  for (int i = 0; i < 3; ++i) {
    const Lock lock(client, "job", long_lease);
    EXPECT_TRUE(lock.owns_lock());
  }
  EXPECT_EQ(attempts(0), 1U) << "it remembers where the key is";
  EXPECT_EQ(attempts(1), 3U);
}

TEST_F(ClientOfScriptedCluster, AsksTheNodeToWhichAKeyIsBeingMoved) {
  answers[0] = [this](const ScriptedRequest&) { return resp::error("ASK" + to(1)); };
  Client client(url(), patient());
  for (int i = 0; i < 2; ++i) {
    const Lock lock(client, "job", long_lease);
    EXPECT_TRUE(lock.owns_lock());
  }
  EXPECT_EQ(attempts(0), 2U) << "the key is still that node's";
  EXPECT_EQ(attempts(1), 2U);
  std::size_t asked = 0;
  const std::vector<ScriptedRequest> requests = nodes[1].requests();
  for (std::size_t i = 1; i < requests.size(); ++i) {
    if (!requests[i].is("SET")) continue;
    EXPECT_EQ(requests[i - 1].name(), "ASKING");
    ++asked;
  }
  EXPECT_EQ(asked, 2U);
}

TEST_F(ClientOfScriptedCluster, SaysThatTheNodesDoNotAgree) {
  answers[0] = [this](const ScriptedRequest&) { return resp::error("MOVED" + to(1)); };
  answers[1] = [this](const ScriptedRequest&) { return resp::error("MOVED" + to(0)); };
  Client client(url(), {.connect_timeout = 20s, .command_timeout = 500ms});
  const Error error = thrown_by([&] { const Lock lock(client, "job", std::try_to_lock); });
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_NE(std::string(error.what()).find("do not agree"), std::string::npos) << error.what();
  EXPECT_NE(std::string(error.what()).find("said \"MOVED "), std::string::npos);
  EXPECT_GT(attempts(0) + attempts(1), 5U);
  EXPECT_LT(attempts(0) + attempts(1), 300U) << "five at once, then with pauses";
}

TEST_F(ClientOfScriptedCluster, RidesOutASlotThatIsAtNoNode) {
  answers[0] = [this](const ScriptedRequest&) {
    return attempts(0) < 3 ? resp::error("CLUSTERDOWN Hash slot not served") : resp::ok;
  };
  Client client(url(), patient());
  const Lock lock(client, "job", std::try_to_lock, long_lease);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_GE(attempts(0), 3U);
}

/// Which may last for minutes, and the caller may have another way.
TEST_F(ClientOfScriptedCluster, RidesOutKeysAtTwoNodesForAMoment) {
  answers[0] = [](const ScriptedRequest&) {
    return resp::error("TRYAGAIN Multiple keys request during rehashing of slot");
  };
  Client client(url(), patient());
  const auto begun = std::chrono::steady_clock::now();
  const Error error = thrown_by([&] { const Lock lock(client, "job", std::try_to_lock); });
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_FALSE(error.in_doubt());
  EXPECT_GT(attempts(0), 1U);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s) << "command_timeout is twice as long";
}

TEST_F(ClientOfScriptedCluster, RefusesKeysInSeveralSlotsBeforeAnythingIsSent) {
  Client client(url(), patient());
  const Error error = thrown_by([&] { const MultiLock lock(client, {"{a}:job", "{b}:job"}); });
  EXPECT_EQ(error.code(), Errc::invalid_argument);
  EXPECT_NE(std::string(error.what()).find("the same hash tag"), std::string::npos);
  EXPECT_EQ(nodes[0].count("EVALSHA") + nodes[0].count("EVAL"), 0U);
  const MultiLock of_one_slot(client, {"{a}:job", "{a}:other"});
  EXPECT_TRUE(of_one_slot.owns_lock());
}

/// The node that has the slot would only redirect it again.
TEST_F(ClientOfScriptedCluster, StaysAtTheNodeToWhichTheKeysAreBeingMoved) {
  answers[0] = [this](const ScriptedRequest&) { return resp::error("ASK" + to(1)); };
  answers[1] = [](const ScriptedRequest&) {
    return resp::error("TRYAGAIN Multiple keys request during rehashing of slot");
  };
  Client client(url(), patient());
  const Error error = thrown_by([&] { const Lock lock(client, "job", std::try_to_lock); });
  EXPECT_EQ(error.code(), Errc::not_writable);
  EXPECT_NE(std::string(error.what()).find("TRYAGAIN"), std::string::npos) << error.what();
  EXPECT_EQ(attempts(0), 1U);
  EXPECT_GT(attempts(1), 1U);
}

/// Two primaries with half of the slots each, of which the second one falls silent.
TEST(ClientOfACluster, RenewsAtTheOtherNodesWhileOneIsSilent) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds ttl{3000};
  std::string slots;
  std::atomic<bool> is_silent = false;
  std::atomic<bool> is_judged = false;
  Clock::time_point renewed{};
  Clock::duration longest{};  // between two renewals
  const auto answer = [&](const ScriptedRequest& request) {
    if (request.is("CLUSTER")) return request.words[1] == "NODES" ? resp::bulk("") : slots;
    if (request.is("CONFIG")) {
      return resp::array({resp::bulk("cluster-node-timeout"), resp::bulk("15000")});
    }
    return request.is("EVALSHA") || request.is("EVAL") ? resp::integer(1) : resp::ok;
  };
  ScriptedServer healthy([&](const ScriptedRequest& request) {
    if (request.is("EVALSHA") && is_silent && !is_judged) {
      const Clock::time_point now = Clock::now();
      if (renewed != Clock::time_point{}) longest = std::max(longest, now - renewed);
      renewed = now;
    }
    return answer(request);
  });
  ScriptedServer silent(
      [&](const ScriptedRequest& request) { return is_silent ? std::string() : answer(request); });
  const auto range = [](int first, int last, const ScriptedServer& server) {
    const std::string url = server.url();
    return resp::array({resp::integer(first), resp::integer(last),
                        resp::array({resp::bulk("127.0.0.1"),
                                     resp::integer(std::stoi(url.substr(url.rfind(':') + 1)))})});
  };
  slots = resp::array({range(0, 8191, healthy), range(8192, 16383, silent)});
  std::atomic<std::size_t> lost = 0;
  ClientOptions options{.connections = 16};
  options.on_event = [&](const Event& event) { lost += event.kind == EventKind::lost; };
  Client client("redis-cluster" + healthy.url().substr(std::string_view("redis").size()), options);
  const Lock held(client, Cluster::key_in(0), {.ttl = ttl});
  std::vector<std::unique_ptr<Lock>> others;
  for (unsigned i = 0; i < 64; ++i) {
    others.push_back(
        std::make_unique<Lock>(client, Cluster::key_in(9'000 + i), LockOptions{.ttl = 3 * ttl}));
  }
  is_silent = true;
  EXPECT_TRUE(eventually([&] { return lost == others.size(); }, 30s));
  is_judged = true;
  EXPECT_TRUE(held.owns_lock());
  const auto held_still = healthy.hold();
  EXPECT_LT(longest, ttl / 3 + ttl / 3) << "a third of the ttl, and one wait";
}

/// With scripts and without: then a renewal has the connection to itself.
class ClientOfAClusterInDoubt : public testing::TestWithParam<bool> {};

INSTANTIATE_TEST_SUITE_P(Scripts, ClientOfAClusterInDoubt, testing::Bool(),
                         [](const auto& test) { return test.param ? "Taken" : "Refused"; });

/// Two primaries, of which one answers seldom, so that others are asked about it: these are silent.
TEST_P(ClientOfAClusterInDoubt, RenewsAtTheOtherNodes) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds ttl{3000};
  const char* const renewal = GetParam() ? "EVALSHA" : "EXEC";
  std::string slots;
  std::atomic<bool> tells = true;
  const auto answer = [&](const ScriptedRequest& request, std::string& value) {
    if (request.is("CLUSTER")) {
      if (!tells) return std::string();
      return request.words[1] == "NODES" ? resp::bulk("") : slots;
    }
    if (request.is("CONFIG")) {
      return resp::array({resp::bulk("cluster-node-timeout"), resp::bulk("4000")});
    }
    if (request.is("SET")) value = request.words[2];
    if (request.is("COMMAND")) return resp::error("NOPERM no permissions to run 'command'");
    if (request.is("GETRANGE")) return resp::bulk(value);
    if (request.is("PEXPIRE") || request.is("DEL")) return resp::status("QUEUED");
    if (request.is("EXEC")) return resp::array({resp::integer(1)});
    return request.is("EVALSHA") || request.is("EVAL") || request.is("EXISTS") ? resp::integer(1)
                                                                               : resp::ok;
  };
  Clock::time_point renewed{};
  Clock::duration longest{};  // between two renewals
  const auto note_time = [&] {
    const Clock::time_point now = Clock::now();
    if (renewed != Clock::time_point{}) longest = std::max(longest, now - renewed);
    renewed = now;
  };
  std::atomic<bool> is_judged = false;
  ScriptedServer often([&, value = std::string()](const ScriptedRequest& request) mutable {
    if (request.is(renewal) && !is_judged) note_time();
    return answer(request, value);
  });
  ScriptedServer seldom([&, value = std::string()](const ScriptedRequest& request) mutable {
    return answer(request, value);
  });
  const auto range = [](int first, int last, const ScriptedServer& server) {
    const std::string url = server.url();
    return resp::array({resp::integer(first), resp::integer(last),
                        resp::array({resp::bulk("127.0.0.1"),
                                     resp::integer(std::stoi(url.substr(url.rfind(':') + 1)))})});
  };
  slots = resp::array({range(0, 8191, often), range(8192, 16383, seldom)});
  ClientOptions options = patient();
  options.scripting = GetParam();
  options.on_event = [&](const Event& event) {
    if (event.kind != EventKind::renewal_failed || is_judged) return;
    const auto held = often.hold();
    note_time();
    is_judged = true;
  };
  Client client("redis-cluster" + often.url().substr(std::string_view("redis").size()), options);
  const Lock held(client, Cluster::key_in(0), {.ttl = ttl});
  const Lock other(client, Cluster::key_in(9'000), {.ttl = 3 * ttl});
  tells = false;
  EXPECT_TRUE(eventually([&] { return is_judged.load(); }, 30s));
  tells = true;
  EXPECT_LT(longest, ttl / 3 + ttl / 4) << "two seconds are waited for the other nodes";
}

/// A cluster may have hundreds of them.
TEST(ClientOfACluster, KeepsNoDescriptorForANodeThatItHasAsked) {
  std::list<ScriptedServer> replicas;
  const auto host_and_port = [](const ScriptedServer& server) {
    const std::string url = server.url();
    return resp::array({resp::bulk("127.0.0.1"),
                        resp::integer(std::stoi(url.substr(url.rfind(':') + 1))), resp::bulk("")});
  };
  for (int i = 0; i < 12; ++i) {
    replicas.emplace_back([](const ScriptedRequest& request) {
      return request.is("CLUSTER") ? resp::error("LOADING the data set") : resp::ok;
    });
  }
  std::string slots;
  ScriptedServer primary([&](const ScriptedRequest& request) {
    if (request.is("CLUSTER")) return request.words[1] == "NODES" ? resp::bulk("") : slots;
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  std::vector<std::string> range{resp::integer(0), resp::integer(16383), host_and_port(primary)};
  for (const ScriptedServer& one : replicas) range.push_back(host_and_port(one));
  slots = resp::array({resp::array(range)});
  Client client("redis-cluster" + primary.url().substr(std::string_view("redis").size()),
                patient());
  const auto connect_anew = [&] {
    primary.close_all();
    const Lock lock(client, "job", std::try_to_lock, long_lease);
  };
  connect_anew();
  const auto before = entries("/proc/self/fd");
  EXPECT_TRUE(eventually([&] {
    connect_anew();  // and ask three of them
    return std::ranges::all_of(replicas,
                               [](const ScriptedServer& one) { return one.count("CLUSTER") > 0; });
  }));
  EXPECT_TRUE(eventually([&] { return entries("/proc/self/fd") < before + 6; }));
}

}  // namespace cluster_redirect_test
}  // namespace redlatch::test
