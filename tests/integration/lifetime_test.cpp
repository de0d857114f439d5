#include <fcntl.h>

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "entries.hpp"
#include "fixture.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace lifetime_test {

std::set<int> open_descriptors() {
  std::set<int> found;
  for (int fd = 0; fd < 1024; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) found.insert(fd);
  }
  return found;
}

class LockLifetime : public testing::Test {
 protected:
  std::ptrdiff_t descriptors() const { return entries("/proc/self/fd"); }
  std::ptrdiff_t threads() const { return entries("/proc/self/task"); }

  RedisServer server{};
  RawClient raw{server.socket()};
};

TEST_F(LockLifetime, OfALockMayOutlastItsClients) {
  std::optional<Client> client(std::in_place, server.url(), patient());
  Lock lock(*client, "job:1", long_lease);
  Lock deferred(*client, "job:2", std::defer_lock, long_lease);
  client.reset();
  EXPECT_TRUE(lock.verify());
  EXPECT_TRUE(lock.extend());
  EXPECT_EQ(lock.unlock(), Unlock::released);
  EXPECT_TRUE(deferred.try_lock());
  EXPECT_EQ(raw.get("job:2"), deferred.token());
}

TEST_F(LockLifetime, OfALockThatOutlastsItsClientEndsWithTheRelease) {
  auto client = std::make_unique<Client>(server.url(), patient());
  auto lock = std::make_unique<Lock>(*client, "job", long_lease);
  client.reset();
  lock.reset();
  EXPECT_FALSE(raw.exists("job"));
}

TEST_F(LockLifetime, OfAClientGoesOnWhereItWasMovedTo) {
  Client from(server.url(), patient());
  Lock lock(from, "job", long_lease);
  Client to(std::move(from));
  to.ping();
  EXPECT_FALSE(Lock(to, "job", std::try_to_lock));
  EXPECT_EQ(lock.unlock(), Unlock::released);
  to = Client(server.unix_url(), patient());
  to.ping();
}

TEST_F(LockLifetime, OfAClientBeginsWithoutASocketOrAThread) {
  const auto descriptors_before = descriptors();
  const auto threads_before = threads();
  const Client client(server.url());
  EXPECT_EQ(descriptors(), descriptors_before);
  EXPECT_EQ(threads(), threads_before);
}

TEST_F(LockLifetime, OfADescriptorEndsWhereAnotherProgramBegins) {
  const std::set<int> before = open_descriptors();
  Client client(server.url(), {.connect_timeout = 20s, .command_timeout = 500ms});
  Lock lock(client, "job", long_lease);
  lock.unlock();
  server.pause();
  EXPECT_TRUE(error_of([&] { lock.lock(); }));  // so that there is also what the background needs
  int found = 0;
  for (const int fd : open_descriptors()) {
    if (before.contains(fd)) continue;
    EXPECT_EQ(::fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ++found;
  }
  EXPECT_GE(found, 2);
  server.resume();
}

TEST_F(LockLifetime, OfManyClientsLeavesNoSocketAndNoThread) {
  const auto cycle = [&](int i) {
    Client client(server.url(), patient());
    const Lock one(client, "job:" + std::to_string(i));
    const Lock other(client, "job:" + std::to_string(i + 1));
    client.ping();
  };
  cycle(0);
  const auto descriptors_before = descriptors();
  const auto threads_before = threads();
  for (int i = 0; i < 300; ++i) cycle(i);
  // What a client looks up has a thread and sockets of its own, which may outlive the client for a
  // moment; and the kernel may show a thread for a moment after it was joined.
  EXPECT_TRUE(eventually([&] { return descriptors() <= descriptors_before; }));
  EXPECT_TRUE(eventually([&] { return threads() <= threads_before; }));
  // This one, and two of a Sentinel.
  EXPECT_TRUE(eventually([&] { return raw.info("clients", "connected_clients:") <= 3; }));
}

TEST_F(LockLifetime, OfClientsWithOpenReleasesLeavesNoSocketAndNoThread) {
  const auto cycle = [&] {
    Client client(server.url(), {.connect_timeout = 50ms, .command_timeout = 50ms});
    Lock lock(client, "job", std::defer_lock, {.ttl = 300ms});
    // A slow machine may miss this time-out too.
    static_cast<void>(error_of([&] { lock.lock(); }));
    server.pause();
    EXPECT_NE(lock.unlock(), Unlock::released);
    EXPECT_TRUE(error_of([&] { static_cast<void>(lock.try_lock()); }));
    server.resume();
  };
  cycle();
  const auto descriptors_before = descriptors();
  const auto threads_before = threads();
  for (int i = 0; i < 20; ++i) cycle();
  EXPECT_TRUE(eventually([&] { return descriptors() <= descriptors_before; }));
  EXPECT_TRUE(eventually([&] { return threads() <= threads_before; }));
}

TEST_F(LockLifetime, OfAClientEndsAsSoonAsNothingIsOwedAnyMore) {
  std::atomic<int> refusals = 3;
  const ScriptedServer busy([&](const ScriptedRequest& request) {
    if (!request.is("EVALSHA")) return resp::ok;
    return refusals-- > 0 ? resp::error("BUSY try later") : resp::integer(1);
  });
  const auto time = duration_of([&] {
    Client client(busy.url(), patient());
    Lock lock(client, "job", long_lease);
    EXPECT_EQ(lock.unlock(), Unlock::unknown);
  });
  EXPECT_LT(refusals, 0);
  EXPECT_LT(time, patient().command_timeout / 2);
}

TEST_F(LockLifetime, OfManyLocksOnOneClientNeedsNoMoreSockets) {
  Client client(server.url(), patient());
  for (int i = 0; i < 50; ++i) const Lock warm_up(client, "job:" + std::to_string(i));
  const auto descriptors_before = descriptors();
  for (int i = 0; i < 500; ++i) const Lock lock(client, "job:" + std::to_string(i));
  EXPECT_EQ(descriptors(), descriptors_before);
}

}  // namespace lifetime_test
}  // namespace redlatch::test
