// Many threads whose commands share a connection, and go out in batches.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "fixture.hpp"

namespace redlatch::test {
namespace batching_test {

ClientOptions single_with_name() {
  ClientOptions options = single();
  options.client_name = "batching";
  return options;
}

class ClientBatching : public ServerTest {
 protected:
  ClientBatching() : ServerTest(single_with_name()) {}

  template <class Work>
  static void in_threads(int count, Work work) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([&work, i] { work(i); });
  }
  static std::string key_of(int i) { return "job:" + std::to_string(i); }
  bool is_empty() {
    return eventually([&] { return raw.command({"DBSIZE"}).integer == 0; });
  }
};

TEST_F(ClientBatching, GivesEachThreadTheAnswersToItsOwnCommands) {
  in_threads(32, [&](int i) {
    RawClient stranger(server.socket());
    const std::string key = key_of(i);
    for (int round = 0; round < 50; ++round) {
      Lock lock(client, key, std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock());
      ASSERT_EQ(stranger.get(key), lock.token());
      ASSERT_FALSE(Lock(client, key, std::try_to_lock, long_lease));
      ASSERT_TRUE(lock.verify());
      if (round % 2 == 0) {
        ASSERT_EQ(lock.unlock(), Unlock::released);
        ASSERT_FALSE(stranger.exists(key));
      }
    }
  });
  EXPECT_TRUE(is_empty());
}

TEST_F(ClientBatching, KeepsTheErrorsOfOneThreadFromTheOthers) {
  raw.command({"LPUSH", "list", "work"});
  in_threads(16, [&](int i) {
    for (int round = 0; round < 25; ++round) {
      if (i % 4 == 0) {
        Lock wrong(client, "list", std::defer_lock, long_lease);
        const Error error = thrown_by([&] { static_cast<void>(wrong.try_lock_for(60s)); });
        EXPECT_EQ(error.code(), Errc::wrong_type) << error.what();
        EXPECT_NE(std::string(error.what()).find("list"), std::string::npos) << error.what();
      } else {
        Lock lock(client, key_of(i), std::try_to_lock, long_lease);
        EXPECT_TRUE(lock.owns_lock());
        EXPECT_TRUE(lock.extend());
        EXPECT_EQ(lock.unlock(), Unlock::released);
      }
    }
  });
  EXPECT_EQ(raw.command({"LLEN", "list"}).integer, 1);
}

TEST_F(ClientBatching, KeepsTheLossOfOneThreadFromTheOthers) {
  in_threads(16, [&](int i) {
    RawClient stranger(server.socket());
    for (int round = 0; round < 25; ++round) {
      Lock lock(client, key_of(i), std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock());
      const bool loses = i % 2 == 0;
      if (loses) stranger.command({"DEL", key_of(i)});
      EXPECT_EQ(lock.extend(), !loses);
      EXPECT_EQ(lock.unlock(), loses ? Unlock::lost : Unlock::released);
    }
  });
}

TEST_F(ClientBatching, KeepsScriptsThatTheServerForgotFromBeingFailures) {
  std::atomic<int> running = 8;
  std::jthread forgetter([&] {
    RawClient stranger(server.socket());
    while (running > 0) stranger.command({"SCRIPT", "FLUSH"});
  });
  in_threads(8, [&](int i) {
    for (int round = 0; round < 100; ++round) {
      Lock lock(client, key_of(i), std::try_to_lock, long_lease);
      EXPECT_TRUE(lock.owns_lock());
      EXPECT_TRUE(lock.extend());
      EXPECT_EQ(lock.unlock(), Unlock::released);
    }
    --running;
  });
}

TEST_F(ClientBatching, LetsOneThreadTakeItsKeyAgainAtOnce) {
  for (int i = 0; i < 10'000; ++i) {
    const Lock lock(client, "job", std::try_to_lock, long_lease);
    ASSERT_TRUE(lock.owns_lock()) << i;
  }
}

TEST_F(ClientBatching, LetsFourThreadsTakeTheirKeysAgainAtOnce) {
  in_threads(4, [&](int i) {
    for (int round = 0; round < 5'000; ++round) {
      const Lock lock(client, key_of(i), std::try_to_lock, long_lease);
      ASSERT_TRUE(lock.owns_lock()) << round;
    }
  });
}

TEST_F(ClientBatching, LetsSixtyFourThreadsTakeTheirKeysAgainAtOnce) {
  ClientOptions options = patient();
  options.client_name = "shared";
  Client shared(server.url(), options);
  std::atomic<int> running = 64;
  std::size_t most = 0;
  std::jthread watcher([&] {
    RawClient stranger(server.socket());
    while (running > 0) most = std::max(most, stranger.clients("shared").size());
  });
  in_threads(64, [&](int i) {
    for (int round = 0; round < 200; ++round) {
      const Lock lock(shared, key_of(i), std::try_to_lock, long_lease);
      EXPECT_TRUE(lock.owns_lock()) << round;
    }
    --running;
  });
  watcher.join();
  EXPECT_LE(most, options.connections);
  EXPECT_TRUE(is_empty());
}

TEST_F(ClientBatching, LetsOnlyOneOfSixtyFourThreadsHoldAKey) {
  std::atomic<int> holders = 0;
  std::atomic<int> taken = 0;
  in_threads(64, [&](int) {
    for (int round = 0; round < 100; ++round) {
      const Lock lock(client, "job", std::try_to_lock, long_lease);
      if (!lock) continue;
      EXPECT_EQ(++holders, 1);
      ++taken;
      --holders;
    }
  });
  EXPECT_GE(taken, 1);
  EXPECT_TRUE(is_empty());
}

TEST_F(ClientBatching, CostsAThreadThatDiesOfAnExceptionNothing) {
  in_threads(16, [&](int i) {
    for (int round = 0; round < 50; ++round) {
      try {
        const Lock lock(client, key_of(i), std::try_to_lock, long_lease);
        EXPECT_TRUE(lock.owns_lock());
        if (i % 2 == 0) throw round;
      } catch (int) {
        // The guard has ended.
      }
    }
  });
  EXPECT_TRUE(is_empty());
}

TEST_F(ClientBatching, IsTheParentsAffairWhenItForks) {
  std::atomic<bool> stop = false;
  std::atomic<int> cycles = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      while (!stop) {
        Lock lock(client, key_of(i), std::try_to_lock, long_lease);
        EXPECT_TRUE(lock.owns_lock());
        EXPECT_TRUE(lock.extend());
        ++cycles;
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return cycles > 100; }));
  for (int i = 0; i < 50; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      bool good = true;
      for (int round = 0; round < 3; ++round) {
        const Lock own(client, "child:" + std::to_string(i), std::try_to_lock, long_lease);
        good = good && own.owns_lock();
      }
      client.ping();  // its answer comes after that to the last release
      ::_exit(good ? 0 : 1);
    }
    int status = 0;
    if (!eventually([&] { return ::waitpid(child, &status, WNOHANG) == child; }, 60s)) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
    }
    EXPECT_EQ(status, 0) << "child " << i;
  }
  stop = true;
  threads.clear();
  EXPECT_TRUE(is_empty());
}

}  // namespace batching_test
}  // namespace redlatch::test
