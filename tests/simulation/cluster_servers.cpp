#include "cluster_servers.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t primaries = 3;
constexpr std::array kinds{"key", "shared", "permits", "recursive"};
/// For so long a node that is back knows nothing new.
constexpr SimTime max_ignorance = 200ms;
/// Between the failure and the election. Source: the cluster specification, "replica election".
constexpr SimTime min_election = 500ms;
constexpr SimTime max_election = 1100ms;
/// For so long a primary that has started takes no writes. Redis: CLUSTER_WRITABLE_DELAY.
constexpr SimTime down_after_start = 2s;

std::string a_tag(const std::string& kind) { return '{' + kind + '}'; }

}  // namespace

ClusterServers::ClusterServers(World& world)
    : SimServers(world, 2 * primaries, true),
      node_timeout_(pick<std::chrono::milliseconds>({300ms, 800ms, 2s})),
      needs_all_slots_(world.below(2) == 0) {
  const SimTime delay = pick<SimTime>({200us, 2ms, 30ms});
  for (std::size_t i = 0; i < primaries; ++i) shards_.emplace_back(world, delay);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    shard_of(i).group.add(servers_[i]);
    nodes_.push_back({.fake = FakeClusterNode(i, node_timeout_)});
    servers_[i].fake().set_cluster(&nodes_[i].fake);
    std::string id = std::to_string(i);
    id.resize(40, 'a');
    map_.nodes.push_back({.id = std::move(id),
                          .port = servers_[i].port(),
                          .primary = i % primaries,
                          .epoch = i < primaries ? ++epoch_ : 0});
  }
  for (std::size_t slot = 0; slot < protocol::slots; ++slot) {
    map_.owners[slot] = static_cast<std::uint8_t>(slot * primaries / protocol::slots);
  }
  newest_ = std::make_shared<FakeClusterNode::Map>(map_);
  for (Node& one : nodes_) one.fake.learn(newest_);
}

std::vector<std::string> ClusterServers::urls() const {
  std::string url = "redis-cluster://" + address(0);
  for (std::size_t i = 1; i < primaries; ++i) url += ',' + address(i);
  return {url};
}

/// Those of one kind are in one slot.
std::string ClusterServers::key(const std::string& kind, std::size_t number) const {
  return a_tag(kind) + std::to_string(number);
}

bool ClusterServers::is_free(const std::string& key) const {
  const auto has = [&](std::size_t shard) {
    return shards_[shard].group.primary_server().fake().exists(key);
  };
  const std::size_t slot = protocol::slot_of(key);
  return !has(shard_of_slot(slot)) && !(move_ && move_->slot == slot && has(move_->to));
}

bool ClusterServers::is_well() const {
  const auto is_settled = [&](const Shard& one) {
    return !one.is_electing && !one.former && one.group.is_complete();
  };
  return SimServers::is_well() && !move_ && std::ranges::all_of(shards_, is_settled) &&
         std::ranges::all_of(
             nodes_, [&](const Node& one) { return !one.is_down && one.fake.map() == newest_; }) &&
         std::ranges::none_of(map_.nodes, &FakeClusterNode::Node::has_failed);
}

std::size_t ClusterServers::number_of(const SimServer& server) const {
  return static_cast<std::size_t>(server.port() - first_port);
}

bool ClusterServers::has_majority() const {
  std::size_t running = 0;
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    running += servers_[primary_of(i)].runs() ? 1 : 0;
  }
  return running > shards_.size() / 2;
}

bool ClusterServers::have(SimFault fault, SimTime time) {
  // Of more nodes at once, several would not know what has happened.
  const bool may_leave = std::ranges::count(servers_, true, &SimServer::is_away) < 2;
  Shard& shard = shards_[world_.below(shards_.size())];
  switch (fault) {
    case SimFault::primary_fails: {
      if (!may_leave || is_moving(shard)) return false;
      time += node_timeout_ + 800ms;
      SimServer& primary = shard.group.primary_server();
      return world_.below(2) == 0 ? stop(primary, time) : restart(primary, time, true);
    }
    case SimFault::failover_is_wanted:
      return order_failover(false);
    case SimFault::takeover:
      return order_failover(true);
    case SimFault::slot_moves:
      return begin_move(time);
    case SimFault::replica_lags: {
      const std::size_t replica = 1 - shard.group.primary();
      if (!shard.group.follows(replica)) return false;
      shard.group.delay(replica, time);
      return true;
    }
    case SimFault::server_is_replica:
      return false;
    case SimFault::server_stops:
    case SimFault::server_restarts:
    case SimFault::forgets: {
      SimServer& server = any();
      if (!may_leave || is_moving(shard_of(number_of(server)))) return false;
      return have_at(server, fault, time);
    }
    default:
      return have_at(any(), fault, time);
  }
}

// What nodes learn

/// Has all nodes learn how the cluster is now.
void ClusterServers::announce(SimTime max_delay) {
  newest_ = std::make_shared<FakeClusterNode::Map>(map_);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    learn_later(i, world_.between(SimTime{}, max_delay));
  }
}

void ClusterServers::learn_later(std::size_t node, SimTime time) {
  world_.at(world_.now() + time, [this, node, absence = nodes_[node].absences] {
    // Another one learns when it is back.
    if (absence == nodes_[node].absences && servers_[node].runs()) learn(node);
  });
}

void ClusterServers::learn(std::size_t node) {
  Node& self = nodes_[node];
  const auto before = self.fake.map();
  if (before == newest_) return;
  self.fake.learn(newest_);
  decide_state(self);
  SimServer& server = servers_[node];
  server.fake().slots_moved(
      [&](std::size_t slot) { return before->owners[slot] != newest_->owners[slot]; });
  Shard& shard = shard_of(node);
  if (shard.former == node && newest_->nodes[node].primary != node) {
    shard.former.reset();
    map_.nodes[node].has_failed = false;
    server.fake().end_waits();
    shard.group.follow(shard.group.member(server), world_.between(10ms, 500ms));
    announce(100ms);
  }
  server.speak();
}

void ClusterServers::decide_state(Node& node) const {
  const FakeClusterNode::Map& map = *node.fake.map();
  const bool is_uncovered = std::ranges::any_of(
      map.owners, [&](std::uint8_t owner) { return map.nodes[owner].has_failed; });
  node.fake.set_down(node.is_down || (needs_all_slots_ && is_uncovered));
}

// Nodes that leave and come back

void ClusterServers::left(SimServer& server) {
  const std::size_t node = number_of(server);
  const std::uint64_t absence = ++nodes_[node].absences;
  if (map_.nodes[node].primary != node) return;
  nodes_[node].is_down = server.state() == SimServer::State::ended;
  world_.at(world_.now() + node_timeout_ + world_.between(1ms, 300ms),
            [this, node, absence] { fail(node, absence); });
}

/// It counts as away until it knows what has happened.
void ClusterServers::is_back(SimServer& server, bool has_data) {
  const std::size_t node = number_of(server);
  Node& self = nodes_[node];
  const std::uint64_t absence = ++self.absences;
  Shard& shard = shard_of(node);
  const std::size_t member = shard.group.member(server);
  if (!has_data && shard.former != node) shard.group.forget(member);
  shard.group.go_on(member);
  server.is_away = true;
  decide_state(self);
  if (self.is_down) {
    world_.at(world_.now() + down_after_start, [this, &self] {
      self.is_down = false;
      decide_state(self);
    });
  }
  world_.at(world_.now() + world_.between(1ms, max_ignorance), [this, node, absence, &server] {
    if (absence != nodes_[node].absences) return;
    server.is_away = false;
    learn(node);
  });
  if (map_.nodes[node].has_failed && map_.nodes[node].primary == node && !shard.is_electing) {
    forgive(node);
  }
}

/// Only if it was away all the time.
void ClusterServers::fail(std::size_t node, std::uint64_t absence) {
  if (absence != nodes_[node].absences || map_.nodes[node].primary != node) return;
  if (shard_of(node).is_electing) return;
  if (!has_majority()) {
    world_.at(world_.now() + 100ms, [this, node, absence] { fail(node, absence); });
    return;
  }
  map_.nodes[node].has_failed = true;
  announce(20ms);
  shard_of(node).is_electing = true;
  world_.at(world_.now() + world_.between(min_election, max_election),
            [this, node] { elect(node); });
}

/// Goes on although the primary may be back.
void ClusterServers::elect(std::size_t node) {
  if (map_.nodes[node].primary != node) return;
  Shard& shard = shard_of(node);
  const auto next = candidate_of(shard);
  if (next && has_majority()) {
    shard.is_electing = false;
    return promote(shard, *next, Failover::elected);
  }
  if (servers_[node].runs()) {
    shard.is_electing = false;
    return forgive(node);
  }
  world_.at(world_.now() + 100ms, [this, node] { elect(node); });
}

/// It is back, and was not replaced.
void ClusterServers::forgive(std::size_t node) {
  world_.at(world_.now() + world_.between(SimTime{}, node_timeout_), [this, node] {
    if (map_.nodes[node].primary != node || shard_of(node).is_electing) return;
    if (!servers_[node].runs()) return;
    map_.nodes[node].has_failed = false;
    announce(100ms);
  });
}

// Failovers

std::optional<std::size_t> ClusterServers::candidate_of(const Shard& shard) const {
  const std::size_t replica = 1 - shard.group.primary();
  const bool is_one = shard.group.follows(replica) && shard.group.server(replica).runs() &&
                      !shard.group.server(replica).is_away;
  return is_one ? std::optional(replica) : std::nullopt;
}

void ClusterServers::promote(Shard& shard, std::size_t member, Failover how) {
  const std::size_t former = number_of(shard.group.primary_server());
  const std::size_t next = number_of(shard.group.server(member));
  if (how == Failover::ordered) shard.group.catch_up(member);
  shard.group.promote(member);
  shard.was_forced.push_back(how == Failover::forced);
  shard.former = former;
  map_.nodes[next].primary = next;
  map_.nodes[next].epoch = ++epoch_;
  map_.nodes[former].primary = next;
  std::ranges::replace(map_.owners, static_cast<std::uint8_t>(former),
                       static_cast<std::uint8_t>(next));
  announce(150ms);
  learn(next);
  if (how == Failover::ordered) learn(former);
}

bool ClusterServers::order_failover(bool is_forced) {
  Shard& shard = shards_[world_.below(shards_.size())];
  const auto next = candidate_of(shard);
  const bool may = next && !shard.former && !shard.is_electing && !is_moving(shard) &&
                   !shard.group.primary_server().is_away;
  if (may) promote(shard, *next, is_forced ? Failover::forced : Failover::ordered);
  return may;
}

// Slots that move

bool ClusterServers::begin_move(SimTime time) {
  if (move_) return false;
  const std::string kind = kinds.at(world_.below(kinds.size()));
  const auto slot = static_cast<unsigned>(protocol::slot_of(a_tag(kind)));
  const std::size_t from = shard_of_slot(slot);
  const std::size_t to = (from + 1 + world_.below(shards_.size() - 1)) % shards_.size();
  for (const std::size_t one : {from, to}) {
    const Shard& shard = shards_[one];
    if (shard.is_electing || shard.former || shard.group.primary_server().is_away) return false;
  }
  move_ = Move{.slot = slot, .from = from, .to = to};
  nodes_[primary_of(to)].fake.set_importing(slot, primary_of(from));
  const SimTime pause = time / 4;
  world_.at(world_.now() + world_.between(1ms, 20ms), [this, pause] {
    nodes_[primary_of(move_->from)].fake.set_migrating(move_->slot, primary_of(move_->to));
    move_key(pause);
  });
  return true;
}

/// One key, at random, and later the next one, or the end. As MIGRATE does it: at once.
void ClusterServers::move_key(SimTime pause) {
  SimServer& from = shards_[move_->from].group.primary_server();
  SimServer& to = shards_[move_->to].group.primary_server();
  if (!from.runs() || !to.runs()) {
    world_.at(world_.now() + 50ms, [this, pause] { move_key(pause); });
    return;
  }
  std::vector<std::string> keys;
  for (const FakeServer::Key& one : from.fake().keys()) {
    if (protocol::slot_of(one.name) == move_->slot) keys.push_back(one.name);
  }
  if (keys.empty()) return end_move();
  const std::string& key = keys[world_.below(keys.size())];
  to.fake().change({{.database = 0, .key = key, .entry = *from.fake().entry(key)}});
  from.fake().change({{.database = 0, .key = key}});
  for (SimServer* one : {&from, &to}) one->speak();
  world_.at(world_.now() + world_.between(SimTime{}, pause), [this, pause] { move_key(pause); });
}

/// The new owner knows first, then the former one.
void ClusterServers::end_move() {
  const std::size_t from = primary_of(move_->from);
  const std::size_t to = primary_of(move_->to);
  const unsigned slot = move_->slot;
  map_.owners[slot] = static_cast<std::uint8_t>(to);
  map_.nodes[to].epoch = ++epoch_;
  announce(150ms);
  nodes_[to].fake.set_importing(slot, std::nullopt);
  learn(to);
  world_.at(world_.now() + world_.between(SimTime{}, 20ms), [this, from, slot] {
    nodes_[from].fake.set_migrating(slot, std::nullopt);
    if (servers_[from].runs()) learn(from);
    move_.reset();
  });
}

// What is lost

/// After an election, no answer of the former primary is believed, and none that was on its way.
void ClusterServers::note_losses(Claim& claim, const Possession& of) const {
  for (const Shard& shard : shards_) {
    for (const LostWrite& write : shard.group.lost()) {
      if (write.value.find(claim.token) == std::string::npos) continue;
      const SimTime heard = shard.group.failovers()[write.failover] + time_to_hear;
      const bool is_late =
          write.at <= of.since && of.since > std::max(heard, of.resumed + time_to_hear);
      const bool is_forced = shard.was_forced[write.failover];
      if (!is_forced && (write.at_former || is_late)) continue;
      claim.lost.emplace_back(write.at, write.until);
    }
  }
}

}  // namespace redlatch::test
