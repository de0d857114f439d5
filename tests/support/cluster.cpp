#include "cluster.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include <redlatch/protocol/side_key.hpp>

#include "eventually.hpp"

namespace redlatch::test {
namespace {

/// Until the nodes know each other's addresses, none is taken for down, however busy the machine
/// is.
std::vector<std::string> patience_at_first() { return {"--cluster-node-timeout", "20000"}; }

void expect_ok(const RawReply& reply) {
  if (reply.error) throw std::runtime_error(reply.text);
}

/// Of a node, as far as all have to agree on it.
struct Agreed {
  bool operator==(const Agreed&) const = default;
  std::string id;
  std::string primary;
  std::vector<SeenNode::Range> slots;
};

}  // namespace

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)) {
  options_.tls = options_.tls || std::getenv("REDLATCH_TEST_TLS") != nullptr;
  for (std::size_t i = 0; i < options_.primaries * (1 + options_.replicas); ++i) {
    nodes_.push_back(std::make_unique<ClusterNode>(node_options()));
  }
  start_primaries();
  start_replicas();
  introduce(0, options_.primaries);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    expect_ok(command(i, {"CONFIG", "SET", "cluster-node-timeout", timeout()}));
  }
}

ClusterNode::Options Cluster::node_options() const {
  // A replica whose synchronisation goes by way of a file is sent what comes next without delay. An
  // empty primary stays one, and a replica that was cut off for long may be elected.
  std::vector<std::string> settings{"--cluster-node-timeout",
                                    timeout(),
                                    "--cluster-allow-replica-migration",
                                    "no",
                                    "--cluster-replica-validity-factor",
                                    "0",
                                    "--repl-diskless-sync",
                                    "no"};
  settings.insert(settings.end(), options_.settings.begin(), options_.settings.end());
  return {.tls = options_.tls, .password = options_.password, .settings = std::move(settings)};
}

/// The primaries must not hear of each other before each has taken over its slots: until then they
/// are replicas.
void Cluster::start_primaries() {
  const std::size_t primaries = options_.primaries;
  for (std::size_t i = 0; i < primaries; ++i) {
    std::vector<ClusterMember> members{member(i, true)};
    for (std::size_t other = 0; other < nodes_.size(); ++other) {
      if (other != i) members.push_back(member(other, false));
    }
    nodes_[i]->configure(nodes_conf(std::move(members), static_cast<unsigned>(i)));
    nodes_[i]->launch(patience_at_first());
  }
  for (std::size_t i = 0; i < primaries; ++i) {
    nodes_[i]->wait_until_it_answers();
    RawClient client = at(i);
    take_slots(client);
  }
}

void Cluster::start_replicas() {
  for (std::size_t i = options_.primaries; i < nodes_.size(); ++i) {
    std::vector<ClusterMember> members{member(i, true)};
    for (std::size_t other = 0; other < nodes_.size(); ++other) {
      if (other != i) members.push_back(member(other, true));
    }
    nodes_[i]->configure(nodes_conf(std::move(members), 0));
    nodes_[i]->launch(patience_at_first());
  }
  for (std::size_t i = options_.primaries; i < nodes_.size(); ++i) {
    nodes_[i]->wait_until_it_answers();
  }
}

/// On a busy machine, a handshake that takes longer than the node timeout is given up.
void Cluster::introduce(std::size_t first, std::size_t end) {
  constexpr int tries = 20;
  for (int i = 0; i < tries; ++i) {
    for (std::size_t number = first; number < end; ++number) meet_those_before(number);
    if (becomes_agreed(default_bound / tries)) return;
  }
  throw std::runtime_error("the nodes of a cluster do not agree:\n" +
                           command(first, {"CLUSTER", "NODES"}).text + nodes_[first]->log());
}

void Cluster::meet_those_before(std::size_t number) {
  RawClient client = at(number);
  for (const std::size_t other : running()) {
    if (other >= number) return;
    expect_ok(client.command({"CLUSTER", "MEET", "127.0.0.1", std::to_string(port(other)),
                              std::to_string(nodes_[other]->bus_port())}));
  }
}

ClusterMember Cluster::member(std::size_t number, bool with_address) const {
  const ClusterNode& node = *nodes_[number];
  ClusterMember member{.id = node.id()};
  if (with_address) {
    member.port = node.port();
    member.bus_port = node.bus_port();
  }
  if (number < options_.primaries) {
    member.slots = slots_at_first(number);
  } else {
    member.primary = nodes_[number % options_.primaries]->id();
  }
  return member;
}

std::string Cluster::slots_at_first(std::size_t primary) const {
  const std::size_t first = primary * protocol::slots / options_.primaries;
  const std::size_t last = (primary + 1) * protocol::slots / options_.primaries - 1;
  return std::to_string(first) + "-" + std::to_string(last);
}

std::string Cluster::url() const {
  std::vector<std::size_t> all(nodes_.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  return url_of(all);
}

std::string Cluster::url_of(const std::vector<std::size_t>& seeds) const {
  std::string url = options_.tls ? "rediss-cluster://" : "redis-cluster://";
  if (!options_.password.empty()) url += ":" + options_.password + "@";
  std::string separator;
  for (const std::size_t seed : seeds) {
    url += std::exchange(separator, ",") + nodes_[seed]->address();
  }
  return url;
}

unsigned Cluster::slot_of(std::string_view key) {
  const auto opens = key.find('{');
  const auto closes = key.find('}', opens);
  const bool has_tag =
      opens != std::string_view::npos && closes != std::string_view::npos && closes > opens + 1;
  if (has_tag) key = key.substr(opens + 1, closes - opens - 1);
  return protocol::checksum(key) % protocol::slots;
}

std::string Cluster::key_in(unsigned slot, const std::string& prefix) {
  const auto digits =
      protocol::SlotDigits::from_to(protocol::checksum(prefix), static_cast<std::uint16_t>(slot));
  return prefix + std::string(digits.data(), digits.size());
}

std::optional<std::size_t> Cluster::primary_of(unsigned slot) const {
  std::optional<std::size_t> found;
  std::uint64_t epoch = 0;
  for (const std::size_t number : running()) {
    const SeenNode seen = answered([&] { return seen_by_itself(number); });
    if (!seen.is_primary() || !seen.has(slot) || (found && seen.epoch < epoch)) continue;
    found = number;
    epoch = seen.epoch;
  }
  return found;
}

std::optional<std::size_t> Cluster::replica_of(std::size_t primary) const {
  for (const std::size_t number : running()) {
    const SeenNode seen = answered([&] { return seen_by_itself(number); });
    if (seen.primary == nodes_[primary]->id()) return number;
  }
  return std::nullopt;
}

RawClient Cluster::at_key(std::string_view key) const { return at(slots_primary(slot_of(key))); }

bool Cluster::becomes_agreed(std::chrono::milliseconds bound) const {
  return eventually([&] { return answered([&] { return is_agreed(); }); }, bound);
}

void Cluster::move_slot(unsigned slot, std::size_t to) {
  if (slots_primary(slot) == to) return;
  begin_move(slot, to);
  finish_move(slot, to);
}

/// A node that does not know the newest epoch takes its own for that when it is given a slot. Then
/// what its former primary has said before counts more, and in the end no node has the slot.
bool Cluster::knows_all_epochs(std::size_t number) const {
  const std::vector<SeenNode> all = seen_by(number);
  return std::ranges::all_of(running(), [&](std::size_t other) {
    const SeenNode itself = seen_by_itself(other);
    const auto seen = std::ranges::find(all, itself.id, &SeenNode::id);
    return !itself.is_primary() || (seen != all.end() && seen->epoch >= itself.epoch);
  });
}

void Cluster::begin_move(unsigned slot, std::size_t to) {
  const std::size_t from = slots_primary(slot);
  if (!eventually([&] { return knows_all_epochs(to); }, default_bound)) {
    throw std::runtime_error("a node does not hear of the epochs of others");
  }
  set_slot(to, slot, {"IMPORTING", nodes_[from]->id()});
  set_slot(from, slot, {"MIGRATING", nodes_[to]->id()});
}

void Cluster::move_keys(unsigned slot, std::size_t to) { migrate(slot, slots_primary(slot), to); }

void Cluster::finish_move(unsigned slot, std::size_t to) {
  const std::size_t from = slots_primary(slot);
  migrate(slot, from, to);
  // In this order: a client that the former primary sends on has to be welcome.
  set_slot(to, slot, {"NODE", nodes_[to]->id()});
  set_slot(from, slot, {"NODE", nodes_[to]->id()});
  for (const std::size_t other : running()) {
    if (other == from || other == to || !seen_by_itself(other).is_primary()) continue;
    set_slot(other, slot, {"NODE", nodes_[to]->id()});
  }
}

/// Its primary would not take keys back before it has the slot for good, and would then lack them
/// for a while: such a slot moves all the way, and back.
void Cluster::abort_move(unsigned slot, std::size_t to) {
  const std::size_t from = slots_primary(slot);
  if (!has_keys(to, slot)) {
    set_slot(to, slot, {"STABLE"});  // clients that were sent on make no keys there any more
    if (!has_keys(to, slot)) return set_slot(from, slot, {"STABLE"});
    set_slot(to, slot, {"IMPORTING", nodes_[from]->id()});
  }
  finish_move(slot, to);
  move_slot(slot, from);
}

std::optional<std::size_t> Cluster::fail_over(std::size_t primary,
                                              std::chrono::milliseconds bound) {
  constexpr std::chrono::seconds given_up_after{5};  // by the replica itself
  const auto end = std::chrono::steady_clock::now() + bound;
  while (std::chrono::steady_clock::now() < end) {
    const std::optional<std::size_t> replica = replica_of(primary);
    if (!replica) return std::nullopt;
    const bool began = !command(*replica, {"CLUSTER", "FAILOVER"}).error;
    const auto is_done = [&] { return seen_by_itself(*replica).is_primary(); };
    if (eventually([&] { return answered(is_done); },
                   began ? given_up_after : std::chrono::milliseconds(100))) {
      return replica;
    }
  }
  return std::nullopt;
}

bool Cluster::take_over(std::size_t replica) {
  return !command(replica, {"CLUSTER", "FAILOVER", "TAKEOVER"}).error;
}

std::optional<std::size_t> Cluster::promoted_from(std::size_t primary, unsigned a_slot,
                                                  std::chrono::milliseconds bound) const {
  std::optional<std::size_t> now;
  const bool is_done = eventually(
      [&] {
        now = primary_of(a_slot);
        return now.has_value() && now != primary;
      },
      bound);
  return is_done ? now : std::nullopt;
}

std::size_t Cluster::add_node() {
  const std::size_t number = nodes_.size();
  nodes_.push_back(std::make_unique<ClusterNode>(node_options()));
  ClusterNode& node = *nodes_.back();
  node.configure(
      nodes_conf({{.id = node.id(), .port = node.port(), .bus_port = node.bus_port()}}, 0));
  node.start();
  introduce(number, number + 1);
  return number;
}

void Cluster::remove_node(std::size_t number) {
  const std::string id = nodes_[number]->id();
  if (nodes_[number]->runs() && !seen_by_itself(number).slots.empty()) {
    throw std::runtime_error("a node that has slots cannot be removed");
  }
  nodes_[number]->kill();
  for (const std::size_t other : running()) {
    expect_ok(command(other, {"CLUSTER", "FORGET", id}));
  }
}

std::vector<SeenNode> Cluster::seen_by(std::size_t number) const {
  return seen_nodes(command(number, {"CLUSTER", "NODES"}).text);
}

SeenNode Cluster::seen_by_itself(std::size_t number) const {
  const std::vector<SeenNode> all = seen_by(number);
  const auto found = std::ranges::find(all, nodes_[number]->id(), &SeenNode::id);
  if (found == all.end()) throw std::runtime_error("a node does not know itself");
  return *found;
}

std::vector<std::size_t> Cluster::running() const {
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i]->runs()) numbers.push_back(i);
  }
  return numbers;
}

bool Cluster::is_agreed() const {
  std::vector<Agreed> first;
  for (const std::size_t number : running()) {
    if (!is_well(number)) return false;
    std::vector<Agreed> view;
    const std::vector<SeenNode> all = seen_by(number);
    for (const std::size_t other : running()) {
      const auto seen = std::ranges::find(all, nodes_[other]->id(), &SeenNode::id);
      const bool is_there = seen != all.end() && seen->bus_port == nodes_[other]->bus_port() &&
                            seen->is_connected && !seen->has_flag("fail") &&
                            !seen->has_flag("fail?");
      if (!is_there) return false;
      view.push_back({seen->id, seen->primary, seen->slots});
      if (other == number && seen->is_primary() && !is_in_step(*seen, number)) return false;
    }
    if (first.empty()) first = view;
    if (view != first) return false;
  }
  return true;
}

/// It serves its slots, or copies its primary.
bool Cluster::is_well(std::size_t number) const {
  RawClient client = at(number);
  const std::string link = "master_link_status:";
  const std::string replication = client.command({"INFO", "replication"}).text;
  const bool is_cut_off = replication.find(link) != std::string::npos &&
                          replication.find(link + "up") == std::string::npos;
  return !is_cut_off &&
         client.command({"CLUSTER", "INFO"}).text.find("cluster_state:ok") != std::string::npos;
}

/// Its replicas have what is written to it now.
bool Cluster::is_in_step(const SeenNode& primary, std::size_t number) const {
  std::int64_t replicas = 0;
  for (const std::size_t other : running()) {
    if (seen_by_itself(other).primary == primary.id) ++replicas;
  }
  if (replicas == 0) return true;
  if (primary.slots.empty()) return false;
  RawClient client = at(number);
  const std::string key = key_in(primary.slots.front().first, "in step?");
  client.command({"SET", key, "", "PX", "1000"});
  const RawReply got_it = client.command({"WAIT", std::to_string(replicas), "100"});
  client.command({"DEL", key});
  return got_it.integer >= replicas;
}

std::size_t Cluster::slots_primary(unsigned slot) const {
  const std::optional<std::size_t> primary = primary_of(slot);
  if (!primary) throw std::runtime_error("no node has slot " + std::to_string(slot));
  return *primary;
}

bool Cluster::has_keys(std::size_t number, unsigned slot) const {
  return command(number, {"CLUSTER", "COUNTKEYSINSLOT", std::to_string(slot)}).integer > 0;
}

void Cluster::migrate(unsigned slot, std::size_t from, std::size_t to) const {
  RawClient source = at(from);
  for (;;) {
    const RawReply keys = source.command({"CLUSTER", "GETKEYSINSLOT", std::to_string(slot), "100"});
    expect_ok(keys);
    if (keys.elements.empty()) return;
    std::vector<std::string> words{"MIGRATE", "127.0.0.1", std::to_string(port(to)), "", "0",
                                   "5000",    "REPLACE"};
    if (!options_.password.empty()) words.insert(words.end(), {"AUTH", options_.password});
    words.push_back("KEYS");
    for (const RawReply& key : keys.elements) words.push_back(key.text);
    expect_ok(source.command(words));
  }
}

void Cluster::set_slot(std::size_t at_node, unsigned slot,
                       const std::vector<std::string>& state) const {
  std::vector<std::string> words{"CLUSTER", "SETSLOT", std::to_string(slot)};
  words.insert(words.end(), state.begin(), state.end());
  expect_ok(command(at_node, words));
}

}  // namespace redlatch::test
