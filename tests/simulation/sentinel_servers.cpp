#include "sentinel_servers.hpp"

#include <algorithm>
#include <chrono>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* service = "orders";
constexpr std::uint16_t first_sentinel = 26379;
constexpr std::size_t sentinels = 3;

}  // namespace

SentinelServers::SentinelServers(World& world)
    : SimServers(world, 2 + world.below(2), true),
      group_(world, pick<SimTime>({200us, 2ms, 30ms})),
      down_after_(pick<SimTime>({200ms, 600ms, 2s})) {
  for (SimServer& one : servers_) group_.add(one);
  std::vector<std::uint16_t> ports;
  for (std::size_t i = 0; i < sentinels; ++i) {
    ports.push_back(static_cast<std::uint16_t>(first_sentinel + i));
  }
  for (const std::uint16_t port : ports) {
    std::vector<std::uint16_t> others = ports;
    std::erase(others, port);
    FakeSentinel& added = sentinels_.emplace_back(
        port, service, std::move(others), [this](int process, std::uint64_t epoch) {
          told_.try_emplace({process, epoch}, world_.now());
        });
    added.learn({group_.primary_server().port(), epoch_});
    world.serve(port, added);
  }
}

std::vector<std::string> SentinelServers::urls() const {
  std::string url = "redis-sentinel://";
  for (const FakeSentinel& one : sentinels_) {
    if (&one != &sentinels_.front()) url += ',';
    url += "127.0.0.1:" + std::to_string(one.port());
  }
  return {url + '#' + service};
}

bool SentinelServers::is_free(const std::string& key) const {
  return !group_.primary_server().fake().exists(key);
}

bool SentinelServers::is_well() const {
  const std::uint16_t primary = group_.primary_server().port();
  return SimServers::is_well() && !is_failing_over_ && !has_former_ && group_.is_complete() &&
         std::ranges::all_of(sentinels_, [&](const FakeSentinel& one) {
           return one.runs && one.knowledge().primary == primary;
         });
}

bool SentinelServers::have(SimFault fault, SimTime time) {
  SimServer& primary = group_.primary_server();
  switch (fault) {
    case SimFault::primary_fails:
      time += down_after_ + 500ms;
      return world_.below(2) == 0 ? stop(primary, time) : restart(primary, time, true);
    case SimFault::failover_is_wanted:
      if (!may_fail_over()) return false;
      is_failing_over_ = true;
      world_.at(world_.now() + world_.between(1ms, 100ms), [this] { fail_over(); });
      return true;
    case SimFault::sentinel_is_away:
      return have_sentinel_away(time);
    case SimFault::replica_lags: {
      const std::size_t replica = world_.below(group_.size());
      if (replica == group_.primary() || !group_.follows(replica)) return false;
      group_.delay(replica, time);
      return true;
    }
    case SimFault::server_is_replica:
      return false;
    default:
      return have_at(any(), fault, time);
  }
}

bool SentinelServers::have_sentinel_away(SimTime time) {
  FakeSentinel& one = sentinels_[world_.below(sentinels_.size())];
  if (!one.runs) return false;
  one.runs = false;
  const std::uint16_t port = one.port();
  const bool ends = world_.below(2) == 0;
  ends ? world_.end_server(port) : world_.stop_server(port);
  world_.at(world_.now() + time, [this, &one, port, ends] {
    one.runs = true;
    ends ? world_.start_server(port) : world_.continue_server(port);
    tell(one, world_.between(100ms, 2s));
  });
  return true;
}

void SentinelServers::left(SimServer& server) {
  if (group_.member(server) != group_.primary()) return;
  world_.at(world_.now() + down_after_,
            [this, absence = ++absences_] { consider_failover(group_.primary(), absence); });
}

void SentinelServers::is_back(SimServer& server, bool has_data) {
  const std::size_t member = group_.member(server);
  if (member == group_.primary()) ++absences_;
  const bool is_former = has_former_ && member == former_;
  if (!has_data && !is_former) group_.forget(member);
  group_.go_on(member);
}

/// Only if the primary was away all the time.
void SentinelServers::consider_failover(std::size_t primary, std::uint64_t absence) {
  if (absence != absences_ || group_.server(primary).runs()) return;
  if (!may_fail_over()) {
    world_.at(world_.now() + 100ms,
              [this, primary, absence] { consider_failover(primary, absence); });
    return;
  }
  is_failing_over_ = true;
  world_.at(world_.now() + world_.between(20ms, 800ms), [this] { fail_over(); });
}

bool SentinelServers::may_fail_over() const {
  const auto running = std::ranges::count(sentinels_, true, &FakeSentinel::runs);
  if (running < 2 || is_failing_over_ || has_former_) return false;
  for (std::size_t i = 0; i < group_.size(); ++i) {
    if (i != group_.primary() && group_.follows(i) && group_.server(i).runs()) return true;
  }
  return false;
}

void SentinelServers::fail_over() {
  std::vector<std::size_t> candidates;
  for (std::size_t i = 0; i < group_.size(); ++i) {
    if (i != group_.primary() && group_.follows(i) && group_.server(i).runs()) {
      candidates.push_back(i);
    }
  }
  is_failing_over_ = false;
  if (candidates.empty()) return;
  former_ = group_.primary();
  has_former_ = true;
  ++absences_;
  ++epoch_;
  const std::size_t next = candidates[world_.below(candidates.size())];
  group_.promote(next);
  group_.server(next).fake().close_clients();
  group_.server(next).speak();
  for (std::size_t i = 0; i < group_.size(); ++i) {
    if (i != next && i != former_) group_.follow(i, world_.between(50ms, 2s));
  }
  // The one that has led it knows first.
  const std::size_t first = world_.below(sentinels_.size());
  const SimTime promoted = world_.between(1ms, 300ms);
  for (std::size_t i = 0; i < sentinels_.size(); ++i) {
    const SimTime later = i == first ? SimTime{} : world_.between(1ms, 1500ms);
    tell(sentinels_[i], promoted + later);
  }
  world_.at(world_.now() + world_.between(100ms, 4s), [this] { demote(former_); });
}

/// Has a Sentinel learn of the present primary, so much later and if it runs then.
void SentinelServers::tell(FakeSentinel& sentinel, SimTime time) {
  world_.at(world_.now() + time, [this, &sentinel] {
    const FakeSentinel::Knowledge before = sentinel.knowledge();
    if (!sentinel.runs || before.epoch == epoch_) return;
    const std::uint16_t primary = group_.primary_server().port();
    sentinel.learn({primary, epoch_});
    const std::string from = "127.0.0.1 " + std::to_string(before.primary);
    const std::string to = "127.0.0.1 " + std::to_string(primary);
    const bool has_led = world_.below(3) == 0;
    if (has_led) {
      sentinel.publish("+promoted-slave", "slave " + to + ' ' + to + " @ " + service + ' ' + from);
    }
    sentinel.publish("+switch-master", service + (' ' + from) + ' ' + to);
    world_.poll_server(sentinel.port());
  });
}

/// Once it is back, and a majority of the Sentinels runs.
void SentinelServers::demote(std::size_t former) {
  const auto running = std::ranges::count(sentinels_, true, &FakeSentinel::runs);
  if (!group_.server(former).runs() || running < 2) {
    world_.at(world_.now() + world_.between(50ms, 2s), [this, former] { demote(former); });
    return;
  }
  group_.follow(former, world_.between(10ms, 1s));
  group_.server(former).fake().close_clients();
  group_.server(former).speak();
  has_former_ = false;
}

/// Whether the client had been told of the failover when it learned of what was lost by it.
bool SentinelServers::is_told(const LostWrite& write, const Possession& of) const {
  constexpr std::uint64_t first_failover = 2;  // its epoch
  SimTime heard = World::never;
  for (auto one = told_.lower_bound({of.process, first_failover + write.failover});
       one != told_.end() && one->first.first == of.process; ++one) {
    heard = std::min(heard, one->second + time_to_hear);
  }
  return write.at > heard ||
         (write.at <= of.since && of.since > std::max(heard, of.resumed + time_to_hear));
}

void SentinelServers::note_losses(Claim& claim, const Possession& of) const {
  for (const LostWrite& write : group_.lost()) {
    if (write.value.find(claim.token) == std::string::npos) continue;
    if (is_told(write, of)) continue;
    claim.lost.emplace_back(write.at, write.until);
  }
}

}  // namespace redlatch::test
