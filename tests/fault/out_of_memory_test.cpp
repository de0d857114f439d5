// Memory that runs out in the middle of an attempt.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include <redlatch/redlatch.hpp>

#include "cluster.hpp"
#include "eventually.hpp"
#include "raw_client.hpp"
#include "redis_server.hpp"
#include "scripted_sentinel.hpp"

namespace {

thread_local constinit int left = 0;  // until one allocation of this thread fails; 0: none does
// Of the threads that begin meanwhile, all allocations fail from one on; 0: none does.
std::atomic<int> left_for_new_threads = 0;
thread_local constinit bool is_new = true;
thread_local constinit bool is_starved = false;
thread_local constinit bool is_out = false;  // all of them fail
thread_local constinit int refused = 0;      // of these

void* allocate(std::size_t size) {
  if (std::exchange(is_new, false) && left == 0) {
    left = left_for_new_threads;
    is_starved = left > 0;
  }
  if (left > 0 && --left == 0) throw std::bad_alloc();
  if (is_starved && left == 0 && left_for_new_threads > 0) throw std::bad_alloc();
  if (is_out && ++refused > 0) throw std::bad_alloc();
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

const LockOptions long_lease{.ttl = 60s};
constexpr int most = 80;  // an attempt takes fewer allocations

class LockOutOfMemory : public testing::Test {
 protected:
  bool is_free() {
    return eventually([&] {
      bool held = false;
      for (RawClient& one : raw) held |= one.exists("job");
      return !held;
    });
  }
  /// Whether the allocation was one of those that are made.
  template <class L>
  static bool fails(L& lock, int allocation) {
    left = allocation;
    try {
      static_cast<void>(lock.try_lock());
    } catch (const std::exception&) {
      // What it may leave is looked for.
    }
    const bool failed = left == 0;
    left = 0;
    if (lock.owns_lock()) lock.unlock();
    return failed;
  }

  std::array<RedisServer, 3> servers{RedisServer(), RedisServer(), RedisServer()};
  std::array<RawClient, 3> raw{RawClient(servers[0].socket()), RawClient(servers[1].socket()),
                               RawClient(servers[2].socket())};
  const ClientOptions patient{.connect_timeout = 20s, .command_timeout = 20s};
};

TEST_F(LockOutOfMemory, LeavesNothingHeldAtAServer) {
  int failures = 0;
  for (int i = 1; i < most; ++i) {
    Client client(servers[0].url(), patient);
    Lock lock(client, "job", std::defer_lock, long_lease);
    failures += fails(lock, i) ? 1 : 0;
    EXPECT_TRUE(is_free()) << "allocation " << i;
  }
  EXPECT_GT(failures, 5);
}

/// The reply to `verify` is the token, which is too long for a string without memory of its own.
TEST_F(LockOutOfMemory, IsNoFaultOfTheServersReply) {
  int failures = 0;
  for (int i = 1; i < most; ++i) {
    Client client(servers[0].url(), patient);
    Lock lock(client, "job", long_lease);
    left = i;
    try {
      EXPECT_TRUE(lock.verify());
    } catch (const std::bad_alloc&) {
      ++failures;
    } catch (const Error& error) {
      left = 0;
      ADD_FAILURE() << "allocation " << i << ": " << error.what();
    }
    left = 0;
    EXPECT_TRUE(lock.verify());
    lock.unlock();
  }
  EXPECT_GT(failures, 0);
}

TEST_F(LockOutOfMemory, LeavesNothingHeldAtAQuorum) {
  int failures = 0;
  for (const bool warm : {false, true}) {
    for (int i = 1; i < most; ++i) {
      Quorum nodes({servers[0].url(), servers[1].url(), servers[2].url()},
                   {.client = patient, .server_timeout = 10s});
      if (warm) Redlock(nodes, "job", long_lease).unlock();
      Redlock lock(nodes, "job", std::defer_lock, long_lease);
      failures += fails(lock, i) ? 1 : 0;
      EXPECT_TRUE(is_free()) << "allocation " << i;
    }
  }
  EXPECT_GT(failures, 20);
}

/// On the threads that ask Sentinels or nodes of a cluster, whose callers have memory.
void expect_failed_questions(const std::string& url) {
  Client(url).ping();  // threads of the test's own servers have begun
  int failures = 0;
  for (int i = 1; i < most; ++i) {
    Client client(url, {.connect_timeout = 5s, .command_timeout = 5s});
    left_for_new_threads = i;
    try {
      client.ping();
    } catch (const Error& error) {
      ++failures;
      EXPECT_EQ(error.code(), Errc::unreachable) << error.what();
    } catch (const std::bad_alloc&) {
      ADD_FAILURE() << "allocation " << i;
    }
    left_for_new_threads = 0;
    EXPECT_TRUE(eventually([&] {
      try {
        client.ping();
        return true;
      } catch (const Error&) {
        return false;
      }
    }));
  }
  EXPECT_GT(failures, 5);
}

TEST(ClientOutOfMemory, TakesASentinelForOneThatCannotBeAsked) {
  RedisServer server;
  ScriptedSentinel sentinel(server.port());
  sentinel.know_no_other();
  expect_failed_questions(sentinel.url());
}

TEST(ClientOutOfMemory, TakesANodeForOneThatCannotBeAsked) {
  const Cluster cluster({.primaries = 1, .replicas = 0, .node_timeout = std::chrono::seconds(5)});
  expect_failed_questions(cluster.url());
}

/// A hundred times, once in a millisecond.
TEST_F(LockOutOfMemory, IsWaitedForOnceAtTheEndOfALockOnAllServers) {
  Quorum nodes({servers[0].url(), servers[1].url(), servers[2].url()},
               {.client = patient, .server_timeout = 10s});
  std::optional<Redlock> lock(std::in_place, nodes, "job", long_lease);
  is_out = true;
  lock.reset();
  is_out = false;
  EXPECT_GE(refused, 100);
  EXPECT_LT(refused, 200);
}

}  // namespace
}  // namespace redlatch::test
