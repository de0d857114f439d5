// Renewals of a Redlock.

#include <cstddef>
#include <cstdint>
#include <stop_token>

#include "quorum.hpp"

namespace redlatch::test {
namespace {

class KeptByThreeServers : public QuorumOf<3> {};

TEST_F(KeptByThreeServers, IsRenewed) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 600ms});
  EXPECT_TRUE(eventually([&] { return nodes.metrics().renewed >= 4; }));
  EXPECT_TRUE(lock.verify());
}

TEST_F(KeptByThreeServers, IsLostWhenAMajorityIsGone) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 50ms});
  Redlock lock(nodes, "job", {.ttl = 1s});
  const std::stop_token lost = lock.lost_token();
  servers[0]->kill();
  servers[1]->kill();
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_FALSE(lock.owns_lock());
  EXPECT_GT(nodes.metrics().renewal_failed, 0U);
}

TEST_F(KeptByThreeServers, IsLostWhenAMajorityHasForgottenIt) {
  Quorum nodes(urls, calm());
  Redlock lock(nodes, "job", {.ttl = 600ms});
  const std::stop_token lost = lock.lost_token();
  raw[0]->command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return nodes.metrics().renewed >= 2; }));
  EXPECT_TRUE(lock.owns_lock()) << "one is not enough";
  for (const auto& one : raw) one->command({"DEL", "job"});
  EXPECT_TRUE(eventually([&] { return lost.stop_requested(); }));
  EXPECT_TRUE(is_free()) << "what is lost stands in nobody's way";
  EXPECT_EQ(lock.unlock(), Unlock::lost);
}

/// One after the other, without any data.
TEST_F(KeptByThreeServers, OutlivesARestartOfEachOfThem) {
  Quorum nodes(urls, {.client = less_patient(), .server_timeout = 200ms});
  Redlock lock(nodes, "job", {.ttl = 1500ms});
  for (std::size_t i = 0; i < servers.size(); ++i) {
    servers[i]->kill();
    servers[i]->start();
    RawClient anew(servers[i]->socket());
    ASSERT_TRUE(eventually([&] { return anew.exists("job"); }));
    const std::uint64_t renewed = nodes.metrics().renewed;
    ASSERT_TRUE(eventually([&] { return nodes.metrics().renewed > renewed; }))
        << "where it is again it counts the next time";
  }
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_EQ(lock.unlock(), Unlock::released);
}

}  // namespace
}  // namespace redlatch::test
