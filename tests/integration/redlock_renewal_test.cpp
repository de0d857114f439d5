// Renewals of a Redlock.

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "descriptor_limit.hpp"
#include "proxy.hpp"
#include "quorum.hpp"
#include "scripted_server.hpp"

namespace redlatch::test {
namespace redlock_renewal_test {

bool can_open() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

class RedlockKeptByThreeServers : public QuorumOf<3> {};

TEST_F(RedlockKeptByThreeServers, IsRenewed) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 2s});
  EXPECT_TRUE(eventually([&] { return nodes.metrics().renewed >= 4; }));
  EXPECT_TRUE(lock.verify());
}

TEST_F(RedlockKeptByThreeServers, IsLostWhenAMajorityIsGone) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 1s});
  const std::stop_token lost = lock.lost_token();
  servers[0]->kill();
  servers[1]->kill();
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_GT(nodes.metrics().renewal_failed, 0U);
}

TEST_F(RedlockKeptByThreeServers, IsLostWhenAMajorityHasForgottenIt) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 2s});
  const std::stop_token lost = lock.lost_token();
  raw[0]->command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return nodes.metrics().renewed >= 2; }));
  EXPECT_TRUE(lock.owns_lock()) << "one is not enough";
  for (const auto& one : raw) one->command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_TRUE(is_free()) << "a lost lease blocks no other client";
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

/// The last of the servers forgets the scripts, and is silent when they are said again.
class RedlockKeptByAMajority : public RedlockKeptByThreeServers {
 protected:
  static QuorumOptions options() {
    ClientOptions client = patient();
    client.command_timeout = 5s;
    client.connections = 1;
    return {.client = client, .server_timeout = 200ms};
  }
  bool has_renewed(std::uint64_t times) {
    const auto before = nodes.metrics().renewed;
    return eventually([&] { return nodes.metrics().renewed >= before + times; });
  }
  std::size_t size_of_a_refusal() {
    return raw[2]->command({"EVALSHA", std::string(40, 'f'), "0"}).text.size() + 3;
  }

  Proxy proxy{servers[2]->socket()};
  Quorum nodes{{urls[0], urls[1], proxy.url()}, options()};
};

TEST_F(RedlockKeptByAMajority, IsRenewedWhileAMinorityHangsBehindARefusal) {
  const Redlock lock(nodes, "job", {.ttl = 2s});
  ASSERT_TRUE(has_renewed(1));
  const std::size_t size = size_of_a_refusal();
  raw[2]->command({"SCRIPT", "FLUSH"});
  proxy.arm_newest({Proxy::Direction::reply, size, Proxy::Manner::stall});
  ASSERT_TRUE(eventually([&] { return proxy.struck(); }));
  EXPECT_TRUE(has_renewed(2));
  EXPECT_TRUE(lock.owns_lock());
  proxy.release();
}

/// The second server hangs, so that an answer of the last is waited for.
class RedlockGivenUpAtAMajority : public RedlockKeptByAMajority {
 protected:
  ~RedlockGivenUpAtAMajority() override {
    servers[1]->resume();
    proxy.release();
  }
  /// From now on, `more` bytes of answers pass behind the first refusal.
  void hang_behind_a_refusal(std::size_t more = 0) {
    const std::size_t size = size_of_a_refusal();
    raw[2]->command({"SCRIPT", "FLUSH"});
    servers[1]->pause();
    proxy.arm_newest({Proxy::Direction::reply, size + more, Proxy::Manner::stall});
  }
  /// Far from command_timeout, and not far from server_timeout.
  static constexpr auto bound = 3s;
};

TEST_F(RedlockGivenUpAtAMajority, IsUnlockedInItsTimeWhileAServerHangsBehindARefusal) {
  Redlock lock(nodes, "job", long_lease);
  hang_behind_a_refusal();
  EXPECT_LT(duration_of([&] { lock.unlock(); }), bound);
  EXPECT_TRUE(proxy.struck());
}

TEST_F(RedlockGivenUpAtAMajority, KeepsNoCallerWaitingWhileAServerHangsBehindTheRefusalOfARelease) {
  std::optional<Redlock> guard(std::in_place, nodes, "job", long_lease);
  Redlock next(nodes, "another", std::defer_lock, long_lease);
  hang_behind_a_refusal(resp::ok.size());
  guard.reset();
  EXPECT_LT(duration_of([&] { error_of([&] { static_cast<void>(next.try_lock()); }); }), bound);
  EXPECT_TRUE(proxy.struck());
}

TEST_F(RedlockKeptByThreeServers, AreRenewedTogetherWithoutADescriptorForEach) {
  Quorum nodes(urls, calm());
  std::vector<Redlock> held;
  for (int i = 0; i < 600; ++i) {
    held.emplace_back(nodes, "job:" + std::to_string(i), LockOptions{.ttl = 6s});
  }
  const DescriptorLimit limit(150);
  const std::uint64_t renewed = nodes.metrics().renewed;
  int not_opened = 0;
  EXPECT_TRUE(eventually([&] {
    not_opened += can_open() ? 0 : 1;
    return nodes.metrics().renewed >= renewed + 1200;
  }));
  EXPECT_EQ(not_opened, 0);
  EXPECT_EQ(nodes.metrics().renewal_failed, 0U);
  for (const Redlock& lock : held) EXPECT_TRUE(lock.owns_lock());
}

/// Only the renewals connect again.
TEST_F(RedlockKeptByThreeServers, IsRenewedOnAServerThatHasClosedItsConnections) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 2s});
  ASSERT_TRUE(eventually([&] { return held_on() == 3; }));
  raw[0]->command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  const std::uint64_t renewed = nodes.metrics().renewed;
  ASSERT_TRUE(eventually([&] { return nodes.metrics().renewed >= renewed + 4; }));
  EXPECT_TRUE(raw[0]->exists("job")) << "it would have expired meanwhile";
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

/// A connection that was used a moment ago is not looked at, so that moment has to pass.
TEST_F(RedlockKeptByThreeServers, IsAskedForAtOnceWhereAllHaveClosedTheirConnections) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", long_lease);
  EXPECT_EQ(lock.unlock(), Unlock::released);
  const auto released = std::chrono::steady_clock::now();
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() - released > 10ms; }));
  for (const auto& one : raw) one->command({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"});
  EXPECT_TRUE(lock.try_lock());
}

}  // namespace redlock_renewal_test
}  // namespace redlatch::test
