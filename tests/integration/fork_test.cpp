#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <redlatch/detail/thread_name.hpp>

#include "child.hpp"
#include "entries.hpp"
#include "fixture.hpp"
#include "quorum.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace fork_test {

/// Exit statuses of children: which of their expectations was not met, or 0.
class Checks {
 public:
  void expect(bool good) {
    ++count_;
    if (!good && failed_ == 0) failed_ = count_;
  }
  int status() const { return failed_; }

 private:
  int count_ = 0;
  int failed_ = 0;
};

class ClientFork : public ServerTest {
 protected:
  static std::ptrdiff_t descriptors() { return entries("/proc/self/fd"); }
};

TEST_F(ClientFork, ChildOwnsNothingOfItsParents) {
  Lock lock(client, "job", long_lease);
  const std::string token = lock.token();
  EXPECT_EQ(in_child([&] {
              Checks checks;
              checks.expect(!lock.owns_lock());
              checks.expect(lock.token().empty());
              checks.expect(lock.remaining() == 0ms);
              checks.expect(lock.expires_at() == std::chrono::steady_clock::time_point{});
              checks.expect(!lock.verify());
              checks.expect(!lock.extend());
              checks.expect(lock.unlock() == Unlock::lost);
              return checks.status();
            }),
            0);
  EXPECT_EQ(raw.get("job"), token);
  EXPECT_TRUE(lock.verify());
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// A token that the parent has made follows the parent's lease, also for the same `stop`.
TEST_F(ClientFork, ChildIsToldOfTheLossOfItsOwnLease) {
  const std::stop_source stop;
  Lock lock(client, "job", long_lease);
  const std::stop_token of_parent = lock.lost_token(stop.get_token());
  raw.command({"DEL", "job"});
  EXPECT_EQ(in_child([&] {
              Checks checks;
              checks.expect(lock.try_lock());
              const std::stop_token lost = lock.lost_token(stop.get_token());
              RawClient(server.socket()).command({"DEL", "job"});
              checks.expect(!lock.verify());
              checks.expect(eventually([&] { return lost.stop_requested(); }));
              checks.expect(!of_parent.stop_requested());
              return checks.status();
            }),
            0);
}

TEST_F(ClientFork, ChildsThreadHasANumberOfItsOwn) {
  EXPECT_EQ(detail::thread_number(), ::syscall(SYS_gettid));
  EXPECT_EQ(in_child([&] {
              Checks checks;
              checks.expect(detail::thread_number() == ::syscall(SYS_gettid));
              return checks.status();
            }),
            0);
}

TEST_F(ClientFork, ChildsDestructorsLeaveTheParentsLockAlone) {
  auto* lock = new Lock(client, "job", long_lease);
  EXPECT_EQ(in_child([&] {
              delete lock;
              return 0;
            }),
            0);
  EXPECT_EQ(raw.get("job"), lock->token());
  delete lock;
}

TEST_F(ClientFork, ChildIsExcludedByItsParent) {
  const Lock lock(client, "job", long_lease);
  EXPECT_EQ(in_child([&] {
              Checks checks;
              Lock own(client, "job", std::defer_lock, long_lease);
              checks.expect(!own.try_lock());
              checks.expect(!own.try_lock_for(50ms));
              return checks.status();
            }),
            0);
}

TEST_F(ClientFork, ChildMayTakeTheObjectThatItsParentHeldOnceItIsFree) {
  Lock lock(client, "job", long_lease);
  EXPECT_EQ(in_child([&] {
              Checks checks;
              checks.expect(!lock.try_lock());
              return checks.status();
            }),
            0);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_EQ(in_child([&] {
              Checks checks;
              checks.expect(lock.try_lock());
              checks.expect(lock.unlock() == Unlock::released);
              return checks.status();
            }),
            0);
}

TEST_F(ClientFork, ManyChildrenUseTheClientWithSocketsOfTheirOwn) {
  ClientOptions options = patient();
  options.client_name = "shared";
  options.connections = 1;
  Client shared(server.url(), options);
  Lock lock(shared, "job", long_lease);
  const std::vector<std::string> parents = raw.clients("shared");
  ASSERT_EQ(parents.size(), 1U);
  const auto connections = raw.info("stats", "total_connections_received:");
  const auto open = descriptors();
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(in_child([&] {
                Checks checks;
                Lock own(shared, "job:" + std::to_string(i), std::try_to_lock, long_lease);
                checks.expect(own.owns_lock());
                checks.expect(own.extend());
                checks.expect(own.unlock() == Unlock::released);
                return checks.status();
              }),
              0);
  }
  EXPECT_EQ(raw.info("stats", "total_connections_received:") - connections, 50);
  EXPECT_TRUE(lock.verify());
  EXPECT_EQ(raw.clients("shared").front(), parents.front());
  EXPECT_EQ(descriptors(), open);
  EXPECT_TRUE(eventually([&] { return raw.clients("shared") == parents; }));
}

TEST_F(ClientFork, ParentsSocketsCarryNothingOfAChild) {
  const ScriptedServer recorder([](const ScriptedRequest& request) {
    return request.is("EVALSHA") ? resp::integer(1) : resp::ok;
  });
  Client shared(recorder.url(), patient());
  for (int i = 0; i < 40; ++i) const Lock warm_up(shared, "parent:" + std::to_string(i));
  const std::size_t parents = recorder.connections();
  Lock lock(shared, "parent", long_lease);
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(in_child([&] {
                const Lock own(shared, "child:" + std::to_string(i), long_lease);
                static_cast<void>(lock.unlock());
                return own.owns_lock() ? 0 : 1;
              }),
              0);
  }
  EXPECT_EQ(lock.unlock(), Unlock::released);
  std::size_t childrens = 0;
  for (const ScriptedRequest& request : recorder.requests()) {
    const bool of_a_child = request.connection > parents;
    for (const std::string& word : request.words) {
      EXPECT_FALSE(word.starts_with("child") && !of_a_child) << word;
      EXPECT_FALSE(word.starts_with("parent") && of_a_child) << word;
    }
    if (of_a_child) ++childrens;
  }
  EXPECT_GE(childrens, 50U * 2);
}

TEST_F(ClientFork, MayHappenWhileOtherThreadsUseTheClient) {
  // How many connections there are depends on which threads meet.
  const auto all_but_connections = [&] {
    return descriptors() - raw.info("clients", "connected_clients:");
  };
  Lock(client, "first", long_lease).unlock();
  const std::int64_t open = all_but_connections();
  std::atomic<bool> stop = false;
  std::atomic<int> cycles = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      while (!stop) {
        Lock lock(client, "parent:" + std::to_string(i), std::try_to_lock, long_lease);
        EXPECT_TRUE(lock.owns_lock());
        EXPECT_TRUE(lock.verify());
        EXPECT_EQ(lock.unlock(), Unlock::released);
        ++cycles;
      }
    });
  }
  EXPECT_TRUE(eventually([&] { return cycles > 20; }));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(in_child([&] {
                Checks checks;
                Lock own(client, "child:" + std::to_string(i), std::try_to_lock, long_lease);
                checks.expect(own.owns_lock());
                checks.expect(own.unlock() == Unlock::released);
                return checks.status();
              }),
              0);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(eventually([&] { return all_but_connections() == open; }));
  EXPECT_EQ(raw.command({"DBSIZE"}).integer, 0);
}

/// The reply to each release of the parent but the last was read before the next one was sent on
/// the same connection, so at the fork these releases wait for their next attempt.
TEST_F(ClientFork, MayHappenWhileAnotherThreadMakesAClient) {
  ClientOptions many = patient();
#ifdef REDLATCH_THREAD_SANITIZED
  many.connections = 4;  // it knows 64 mutexes that a thread holds at once
#else
  many.connections = 1024;  // takes long enough to be met
#endif
  std::atomic<bool> stop = false;
  std::jthread maker([&] {
    while (!stop) Client(server.url(), many);
  });
  for (int i = 0; i < 400; ++i) EXPECT_EQ(in_child([] { return 0; }), 0);
  stop = true;
}

TEST_F(ClientFork, ChildDoesNothingOfWhatItsParentStillOwes) {
  const auto is_of_parent = [](const ScriptedRequest& request) {
    return request.is("EVALSHA") && request.words[3].starts_with("parent");
  };
  std::atomic<bool> willing = false;
  const ScriptedServer busy([&](const ScriptedRequest& request) {
    if (!request.is("EVALSHA")) return resp::ok;
    return is_of_parent(request) && !willing ? resp::error("BUSY try later") : resp::integer(1);
  });
  Client shared(busy.url(), single());
  for (int i = 0; i < 8; ++i) {
    Lock lock(shared, "parent:" + std::to_string(i), long_lease);
    ASSERT_EQ(lock.unlock(), Unlock::unknown);
  }
  const std::size_t parents = busy.connections();
  const auto childs = [&] {
    std::size_t requests = 0;
    for (const ScriptedRequest& request : busy.requests()) {
      if (request.connection <= parents) continue;
      EXPECT_FALSE(is_of_parent(request));
      ++requests;
    }
    return requests;
  };
  EXPECT_EQ(in_child([&] {
              const Lock own(shared, "child", std::try_to_lock, {.ttl = 3s});
              // Its background works, so it would do what it had taken over as well.
              const bool renews = eventually([&] { return shared.metrics().renewed >= 2; });
              return renews && own.owns_lock() ? 0 : 1;
            }),
            0);
  EXPECT_GE(childs(), 2U);
  willing = true;
}

class QuorumFork : public QuorumOf<3> {};

/// Two of three servers hang, so that the renewal does not come to an end.
TEST_F(QuorumFork, DoesNotWaitForARenewal) {
  std::optional<Quorum> nodes(std::in_place, urls, calm());
  std::optional<Redlock> lock(std::in_place, *nodes, "job", LockOptions{.ttl = 3s});
  const auto before = raw[0]->calls("evalsha");
  servers[1]->pause();
  servers[2]->pause();
  EXPECT_TRUE(eventually([&] { return raw[0]->calls("evalsha") > before; }));
  EXPECT_EQ(in_child([&] {
              lock.reset();
              nodes.reset();
              return 0;
            }),
            0);
  servers[1]->resume();
  servers[2]->resume();
}

/// What happens to the connections is told while a fork may be about to lock everything.
TEST_F(QuorumFork, MayHappenWhileItTellsOfItsConnections) {
  EXPECT_EQ(in_child([&] {
              ClientOptions options = patient();
              options.on_event = [](const Event&) {};
              Quorum nodes(urls, {.client = options, .server_timeout = 10s});
              std::atomic<bool> stop = false;
              std::thread reconnecting([&] {
                while (!stop) {
                  for (const auto& one : raw) one->command({"CLIENT", "KILL", "TYPE", "normal"});
                  error_of([&] { const Redlock lock(nodes, "job", std::try_to_lock, long_lease); });
                }
              });
              Checks checks;
              for (int i = 0; i < 100; ++i) checks.expect(in_child([] { return 0; }) == 0);
              stop = true;
              reconnecting.join();
              return checks.status();
            }),
            0);
}

}  // namespace fork_test
}  // namespace redlatch::test
