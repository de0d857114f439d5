#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "fake_sentinel.hpp"
#include "replication.hpp"
#include "sim_servers.hpp"

namespace redlatch::test {

/// A primary with replicas, and three Sentinels, two of which have to run for a failover.
///
/// A primary that stops, or is killed, for longer than `down-after-milliseconds` is replaced by a
/// replica; an administrator may want that, too. One Sentinel after the other learns of it, some
/// only when they are back. The former primary believes in itself until a Sentinel has made it a
/// replica, some time after it is back.
class SentinelServers final : public SimServers {
 public:
  explicit SentinelServers(World& world);

  std::vector<std::string> urls() const override;
  bool have(SimFault fault, SimTime time) override;
  bool is_well() const override;
  bool is_free(const std::string& key) const override;
  void note_losses(Claim& claim, const Possession& of) const override;

 private:
  void left(SimServer& server) override;
  void is_back(SimServer& server, bool has_data) override;
  void consider_failover(std::size_t primary, std::uint64_t absence);
  bool may_fail_over() const;
  void fail_over();
  void tell(FakeSentinel& sentinel, SimTime time);
  void demote(std::size_t former);
  bool have_sentinel_away(SimTime time);
  bool is_told(const LostWrite& write, const Possession& of) const;

  Replication group_;
  std::deque<FakeSentinel> sentinels_{};
  SimTime down_after_;
  std::uint64_t epoch_ = 1;
  std::uint64_t absences_ = 0;    // of primaries
  bool is_failing_over_ = false;  // until a replica is promoted
  std::size_t former_ = 0;        // primary, while there is one to be demoted
  bool has_former_ = false;
  // By process and epoch of the configuration.
  std::map<std::pair<int, std::uint64_t>, SimTime> told_{};
};

}  // namespace redlatch::test
