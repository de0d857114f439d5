// Acquisitions of a Redlock that a server has not answered.

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "proxy.hpp"
#include "quorum.hpp"

namespace redlatch::test {
namespace redlock_in_doubt_test {

/// The second and the last server may lose what they say, or what is said to them.
class RedlockInDoubtAtAMinority : public QuorumOf<3> {
 protected:
  RedlockInDoubtAtAMinority() {
    { const Redlock connects(nodes, "job", long_lease); }
    EXPECT_TRUE(is_free());
  }
  ~RedlockInDoubtAtAMinority() override { last.release(); }

  QuorumOptions options() {
    ClientOptions client{.connect_timeout = 20s, .command_timeout = 1s};
    client.connections = 1;
    client.on_event = [this](const Event& event) {
      if (event.kind == EventKind::disconnected && event.server == last.url() + "/0") {
        has_given_up_the_last = true;
      }
    };
    return {.client = client, .server_timeout = 10s};
  }
  /// The last server does not hear of the acquisition, and its connection is given up.
  Redlock acquire_without_the_last() {
    last.stall();
    Redlock lock(nodes, "job", long_lease);
    EXPECT_TRUE(eventually([&] { return last.holds("job"); }));
    EXPECT_TRUE(eventually([&] { return has_given_up_the_last.load(); }));
    releases = raw[2]->calls("evalsha");
    return lock;
  }
  /// It answers the release, and hears of the acquisition behind that.
  void expect_to_be_free_behind_the_acquisition() {
    ASSERT_TRUE(eventually([&] { return raw[2]->calls("evalsha") > releases; }));
    ASSERT_TRUE(eventually([&] {
      const Redlock behind_it(nodes, "another", long_lease);
      return raw[2]->exists("another");
    }));
    ASSERT_TRUE(eventually([&] { return !raw[2]->exists("another"); }));
    const auto acquisitions = raw[2]->calls("set");
    last.release();
    ASSERT_TRUE(eventually([&] { return raw[2]->calls("set") > acquisitions; }));
    EXPECT_TRUE(is_free());
  }

  std::atomic<bool> has_given_up_the_last = false;
  std::int64_t releases = 0;  // that the last server has carried out
  Proxy second{servers[1]->socket()};
  Proxy last{servers[2]->socket()};
  Quorum nodes{{urls[0], second.url(), last.url()}, options()};
};

/// A release there could come behind an extension that counts it, and a rival could have its voice.
TEST_F(RedlockInDoubtAtAMinority, KeepsTheKeyWhereTheConnectionBroke) {
  second.hold_all();
  last.hold_all();
  Redlock lock(nodes, "job", std::defer_lock, {.ttl = 3s});
  std::jthread acquiring([&] { EXPECT_TRUE(lock.try_lock()); });
  ASSERT_TRUE(eventually([&] { return held_on() == 3; }));
  last.cut();
  ASSERT_TRUE(eventually([&] { return has_given_up_the_last.load(); }));
  second.let_go();
  acquiring.join();
  const auto renewed = nodes.metrics().renewed;
  ASSERT_TRUE(eventually([&] { return nodes.metrics().renewed >= renewed + 3; }));
  EXPECT_EQ(held_on(), 3);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockInDoubtAtAMinority, IsUnlockedAlsoWhereItsAcquisitionArrivesBehindThat) {
  Redlock lock = acquire_without_the_last();
  EXPECT_EQ(lock.unlock(), Unlock::released);
  expect_to_be_free_behind_the_acquisition();
}

/// All servers answer the release, the last one that the lock is not ours.
TEST_F(RedlockInDoubtAtAMinority, IsUnlockedAlsoWhereAllHaveAnsweredTheRelease) {
  Redlock lock = acquire_without_the_last();
  ASSERT_TRUE(eventually([&] { return lock.extend(60s) && raw[2]->calls("evalsha") > releases; }));
  releases = raw[2]->calls("evalsha");
  second.hold_all();
  std::jthread unlocking([&] { EXPECT_EQ(lock.unlock(), Unlock::released); });
  ASSERT_TRUE(
      eventually([&] { return second.holds_replies() && raw[2]->calls("evalsha") > releases; }));
  second.let_go();
  unlocking.join();
  expect_to_be_free_behind_the_acquisition();
}

TEST_F(RedlockInDoubtAtAMinority, IsGivenBackAtTheEndOfTheScopeAlsoWhereItsAcquisitionIsLate) {
  { const Redlock lock = acquire_without_the_last(); }
  expect_to_be_free_behind_the_acquisition();
}

TEST_F(RedlockInDoubtAtAMinority, IsTakenBackWhereTheConnectionsBrokeAtAMajority) {
  second.hold_all();
  last.hold_all();
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  std::jthread acquiring([&] {
    const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
    EXPECT_TRUE(error.in_doubt()) << error.what();
  });
  ASSERT_TRUE(eventually([&] { return held_on() == 3; }));
  second.cut();
  last.cut();
  acquiring.join();
  EXPECT_TRUE(is_free());
}

/// No other server votes, so it is as with a client.
class RedlockInDoubtAtItsOnlyServer : public QuorumOf<1> {
 protected:
  RedlockInDoubtAtItsOnlyServer() {
    { const Redlock connects(node, "job", long_lease); }
    EXPECT_TRUE(is_free());
  }
  void expect_in_doubt() {
    const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
    EXPECT_TRUE(error.in_doubt()) << error.what();
  }

  Proxy proxy{servers[0]->socket()};
  Quorum node{{proxy.url()}, {.client = less_patient(), .server_timeout = 500ms}};
  Redlock lock{node, "job", std::defer_lock, long_lease};
};

TEST_F(RedlockInDoubtAtItsOnlyServer, IsTakenBackWhereTheConnectionBroke) {
  proxy.hold_all();
  std::jthread acquiring([&] { expect_in_doubt(); });
  ASSERT_TRUE(eventually([&] { return held_on() == 1; }));
  proxy.cut();
  acquiring.join();
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockInDoubtAtItsOnlyServer, IsTakenBackWhereTheServerWasLate) {
  const auto acquisitions = raw[0]->calls("set");
  proxy.stall();
  expect_in_doubt();
  proxy.release();
  ASSERT_TRUE(eventually([&] { return raw[0]->calls("set") > acquisitions; }));
  EXPECT_TRUE(is_free());
}

}  // namespace redlock_in_doubt_test
}  // namespace redlatch::test
