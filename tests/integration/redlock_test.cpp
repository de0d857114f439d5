// Redlock: a majority of independent servers.

#include <atomic>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "quorum.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace redlock_test {

class RedlockThreeServers : public QuorumOf<3> {};

TEST_F(RedlockThreeServers, GrantALockTogether) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", long_lease);
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_GE(held_on(), 2);
  EXPECT_TRUE(lock.verify());
  EXPECT_TRUE(lock.extend(1h));
  EXPECT_GT(lock.remaining(), 50min);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockThreeServers, ExcludeOthers) {
  Quorum nodes(urls, calm());
  Quorum others(urls, calm());
  Redlock lock(nodes, "job", long_lease);
  Redlock second(others, "job", std::try_to_lock, long_lease);
  EXPECT_FALSE(second);
  EXPECT_FALSE(second.try_lock_for(50ms));
  lock.unlock();
  EXPECT_TRUE(second.try_lock_for(10s));
}

/// An answer about its scripts is none that a connection keeps to.
TEST_F(RedlockThreeServers, AreNamedWhileTheyRefuseScriptsAndServeAgainBehindThat) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", long_lease);
  for (const auto& one : raw) one->command({"ACL", "SETUSER", "default", "-@scripting"});
  for (int i = 0; i < 2; ++i) {
    const Error error = thrown_by([&] { static_cast<void>(lock.extend()); });
    EXPECT_NE(std::string(error.what()).find("evalsha"), std::string::npos) << error.what();
  }
  for (const auto& one : raw) one->command({"ACL", "SETUSER", "default", "+@scripting"});
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockThreeServers, AreGivenBackAtTheEndOfTheScope) {
  Quorum nodes(urls, calm());
  { const Redlock lock(nodes, "job", long_lease); }
  EXPECT_TRUE(is_free());
  EXPECT_EQ(nodes.metrics().released, 1U);
}

TEST_F(RedlockThreeServers, ServeWhoWaits) {
  Quorum nodes(urls, calm());
  Quorum others(urls, calm());
  Redlock lock(nodes, "job", long_lease);
  Redlock waiting(others, "job", std::defer_lock, long_lease);
  std::jthread waiter([&] { waiting.lock(); });
  ASSERT_TRUE(eventually([&] { return others.metrics().waiting == 1; }));
  lock.unlock();
  waiter.join();
  EXPECT_TRUE(waiting.owns_lock());
}

TEST_F(RedlockThreeServers, LetAWaitBeCancelled) {
  Quorum nodes(urls, calm());
  const Redlock lock(nodes, "job", long_lease);
  std::jthread waiter([&](const std::stop_token& stop) {
    Redlock waiting(nodes, "job", std::defer_lock, long_lease);
    EXPECT_FALSE(waiting.lock(stop));
  });
  ASSERT_TRUE(eventually([&] { return nodes.metrics().waiting == 1; }));
  waiter.request_stop();
  waiter.join();
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(RedlockThreeServers, DoNotChangeTheResultWhenOneIsDead) {
  servers[1]->kill();
  Quorum nodes(urls, calm());
  for (int i = 0; i < 20; ++i) {
    Redlock lock(nodes, "job", long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
}

TEST_F(RedlockThreeServers, DoNotChangeTheResultWhenOneDies) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 2s});
  servers[0]->kill();
  const auto before = nodes.metrics().renewed;
  EXPECT_TRUE(eventually([&] { return nodes.metrics().renewed >= before + 4; }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  servers[0]->start();
  EXPECT_TRUE(Redlock(nodes, "job", 10s, long_lease));
}

TEST_F(RedlockThreeServers, DoNotWaitForOneThatHangs) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 10s});
  { const Redlock connects(nodes, "job", long_lease); }
  ASSERT_TRUE(is_free());
  servers[2]->pause();
  const auto time = duration_of([&] {
    for (int i = 0; i < 50; ++i) {
      Redlock lock(nodes, "job", long_lease);
      EXPECT_EQ(lock.unlock(), Unlock::released);
    }
  });
  EXPECT_LT(time, 9s) << "not a time-out among them";
  servers[2]->resume();
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockThreeServers, DoNotWaitToConnectToOneThatHangs) {
  servers[2]->pause();
  Quorum nodes(urls, {.client = patient(), .server_timeout = 500ms});
  const auto time = duration_of([&] {
    for (int i = 0; i < 50; ++i) const Redlock lock(nodes, "job", long_lease);
  });
  EXPECT_LT(time, 9s) << "only the first one waits for it";
  servers[2]->resume();
  EXPECT_TRUE(is_free());
}

/// It answers when all is over.
TEST_F(RedlockThreeServers, GiveBackWhatALateServerGrants) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 300ms});
  { const Redlock connects(nodes, "job", long_lease); }
  ASSERT_TRUE(is_free());
  servers[1]->pause();
  servers[2]->pause();
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  const Error error = thrown_by([&] { static_cast<void>(lock.try_lock()); });
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_TRUE(error.in_doubt());
  servers[1]->resume();
  servers[2]->resume();
  EXPECT_TRUE(eventually([&] { return raw[1]->calls("set") > 0 && raw[2]->calls("set") > 0; }));
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockThreeServers, DoNotChangeTheResultWhenOneHasAnotherPassword) {
  raw[0]->command({"CONFIG", "SET", "requirepass", "secret"});
  Quorum nodes(urls, calm());
  for (int i = 0; i < 20; ++i) {
    Redlock lock(nodes, "job", long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::released);
  }
}

TEST_F(RedlockThreeServers, SayWhyThereIsNoMajority) {
  servers[0]->kill();
  raw[1]->command({"CONFIG", "SET", "requirepass", "hidden"});
  std::vector<std::string> known = urls;
  known[1].insert(std::string("redis://").size(), ":guessed@");
  Quorum nodes(known, calm());
  const Error error = thrown_by([&] { static_cast<void>(Redlock(nodes, "job", long_lease)); });
  const std::string text = error.what();
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_NE(text.find("2 of 3 servers"), std::string::npos) << text;
  EXPECT_NE(text.find(urls[0]), std::string::npos) << text;
  EXPECT_NE(text.find("password"), std::string::npos) << text;
  EXPECT_EQ(text.find("guessed"), std::string::npos) << text;
  EXPECT_FALSE(raw[2]->exists("job")) << "nothing is left";
}

TEST_F(RedlockThreeServers, RideOutAnOutageWhileSomebodyWaits) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 200ms});
  for (const auto& one : raw) one->command({"SET", "job", "stranger"});
  Redlock lock(nodes, "job", std::defer_lock, long_lease);
  std::jthread waiter([&] { lock.lock(); });
  ASSERT_TRUE(eventually([&] { return nodes.metrics().contended == 1; }));
  for (const auto& server : servers) server->kill();
  for (const auto& server : servers) server->start();
  waiter.join();
  EXPECT_TRUE(lock.owns_lock());
}

TEST_F(RedlockThreeServers, AreRefusedWhenTheyHaveJustStarted) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 10s, .min_uptime = 1h});
  const Error error = thrown_by([&] { static_cast<void>(Redlock(nodes, "job", long_lease)); });
  EXPECT_EQ(error.code(), Errc::no_quorum);
  EXPECT_NE(std::string(error.what()).find("min_uptime"), std::string::npos) << error.what();
}

TEST_F(RedlockThreeServers, AreTakenOnceTheyHaveRunForLongEnough) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 10s, .min_uptime = 1s});
  EXPECT_TRUE(eventually([&] {
    Redlock lock(nodes, "job", std::defer_lock, long_lease);
    return error_of([&] { lock.lock(); }) == std::error_code();
  }));
}

/// One that says 1 may have been running for hardly more than nothing.
TEST(RedlockUptimeInWholeSeconds, IsTakenForTheLeastThatItMayBe) {
  for (const int uptime : {1, 2}) {
    const ScriptedServer server([&](const ScriptedRequest& request) {
      if (request.is("INFO")) {
        return resp::bulk("# Server\r\nuptime_in_seconds:" + std::to_string(uptime) + "\r\n");
      }
      return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
    });
    Quorum one({server.url()}, {.client = patient(), .server_timeout = 10s, .min_uptime = 1s});
    const auto error = error_of([&] { static_cast<void>(Redlock(one, "job", std::try_to_lock)); });
    EXPECT_EQ(error, uptime == 2 ? std::error_code() : make_error_code(Errc::not_writable));
  }
}

TEST_F(RedlockThreeServers, SayWhyTheyAreAwayAlsoWhenTheyHaveJustBeenAsked) {
  for (std::string& url : urls) url.insert(url.find("//") + 2, "nobody:wrong@");
  Quorum nodes(urls, {.client = patient(), .server_timeout = 10s});
  for (int i = 0; i < 3; ++i) {
    const Error error =
        thrown_by([&] { static_cast<void>(Redlock(nodes, "job", std::try_to_lock)); });
    EXPECT_NE(std::string(error.what()).find("authentication failed"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("WRONGPASS"), std::string::npos) << error.what();
  }
}

/// Another key mostly means another connection, which was not tried.
TEST_F(RedlockThreeServers, SayWhyTheyAreAwayWhicheverKeyIsAskedFor) {
  Quorum nodes(urls, calm());
  servers[0]->kill();
  servers[1]->kill();
  for (int i = 0; i < 20; ++i) {
    const Error error =
        thrown_by([&] { static_cast<void>(Redlock(nodes, std::to_string(i), std::try_to_lock)); });
    const std::string text = error.what();
    EXPECT_EQ(error.code(), Errc::no_quorum);
    EXPECT_NE(text.find(urls[0] + "/0: "), std::string::npos) << text;
    const std::size_t first = text.find("cannot connect (");
    EXPECT_NE(first, std::string::npos) << text;
    EXPECT_NE(text.find("cannot connect (", first + 1), std::string::npos) << text;
  }
}

TEST_F(RedlockThreeServers, ShareAQuorumBetweenThreads) {
  Quorum nodes(urls, calm());
  std::atomic<int> inside = 0;
  std::atomic<bool> overlapped = false;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        Redlock lock(nodes, "job", long_lease);
        if (++inside != 1) overlapped = true;
        --inside;
        lock.unlock();
      }
    });
  }
  threads.clear();
  EXPECT_FALSE(overlapped);
  EXPECT_TRUE(is_free());
}

TEST_F(RedlockThreeServers, LeaveDifferentKeysAlone) {
  Quorum nodes(urls, calm());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        Redlock lock(nodes, "key" + std::to_string(i), std::try_to_lock, long_lease);
        EXPECT_TRUE(lock);
        EXPECT_EQ(lock.unlock(), Unlock::released);
      }
    });
  }
}

/// What the servers' own threads have to say comes when the quorum itself is going already.
TEST_F(RedlockThreeServers, TellTheProgramToTheVeryEnd) {
  for (int i = 0; i < 5; ++i) {
    std::atomic<int> told = 0;
    QuorumOptions options{.client = less_patient(), .server_timeout = 10s};
    options.client.on_event = [&](const Event& event) {
      if (event.kind == EventKind::disconnected) ++told;
    };
    {
      Quorum nodes(urls, options);
      Redlock lock(nodes, "job", long_lease);
      EXPECT_EQ(lock.unlock(), Unlock::released);
      for (const auto& server : servers) server->kill();
      Redlock last(nodes, "job", std::defer_lock, long_lease);
      EXPECT_EQ(error_of([&] { last.lock(); }), Errc::no_quorum);
    }
    EXPECT_EQ(told, 3);
    for (const auto& server : servers) server->start();
  }
}

TEST_F(RedlockThreeServers, TellTheProgramOfAllOfThem) {
  std::atomic<int> connected = 0;
  std::atomic<int> acquired = 0;
  QuorumOptions options = calm();
  options.client.on_event = [&](const Event& event) {
    if (event.kind == EventKind::connected) ++connected;
    if (event.kind == EventKind::acquired) ++acquired;
  };
  Quorum nodes(urls, options);
  const Redlock lock(nodes, "job", long_lease);
  EXPECT_TRUE(eventually([&] { return connected == 3 && acquired == 1; }));
}

}  // namespace redlock_test
}  // namespace redlatch::test
