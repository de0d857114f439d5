#include "fake_cluster_node.hpp"

#include <algorithm>

#include "resp_out.hpp"

namespace redlatch::test {
namespace {

using namespace resp;

constexpr const char* host = "127.0.0.1";
constexpr std::uint16_t bus_offset = 10000;

void append_node(std::string& out, const FakeClusterNode::Node& node) {
  append_array(out, 4);
  append_bulk(out, host);
  append_integer(out, node.port);
  append_bulk(out, node.id);
  append_array(out, 0);
}

/// Calls the function for each range of slots that one node has.
template <class Function>
void for_each_range(const FakeClusterNode::Map& map, Function function) {
  for (std::size_t first = 0; first < protocol::slots;) {
    std::size_t end = first + 1;
    while (end < protocol::slots && map.owners[end] == map.owners[first]) ++end;
    if (map.owners[first] != FakeClusterNode::none) function(first, end - 1, map.owners[first]);
    first = end;
  }
}

}  // namespace

void FakeClusterNode::set(Marks& marks, unsigned slot, std::optional<std::size_t> node) {
  if (node) {
    marks[slot] = *node;
  } else {
    marks.erase(slot);
  }
}

std::string FakeClusterNode::redirection(const char* how, std::size_t slot, std::size_t to) const {
  return std::string(how) + ' ' + std::to_string(slot) + ' ' + host + ':' +
         std::to_string(map_->nodes[to].port);
}

// Redis: getNodeByQuery().
std::optional<std::string> FakeClusterNode::refusal(const Command& command) const {
  if (command.keys.empty()) return std::nullopt;
  const std::size_t slot = protocol::slot_of(command.keys.front());
  for (const std::string_view key : command.keys) {
    if (protocol::slot_of(key) != slot) {
      return "CROSSSLOT Keys in request don't hash to the same slot";
    }
  }
  const std::uint8_t owner = map_->owners[slot];
  if (owner == none) return "CLUSTERDOWN Hash slot not served";
  if (is_down_) return "CLUSTERDOWN The cluster is down";
  const auto migrating = migrating_.find(static_cast<unsigned>(slot));
  const bool migrates = owner == number_ && migrating != migrating_.end();
  const bool imports = !migrates && importing_.contains(static_cast<unsigned>(slot));
  std::size_t missing = 0;
  if ((migrates || imports) && !command.is_about_channels) {
    missing = static_cast<std::size_t>(std::ranges::count_if(
        command.keys, [&](std::string_view key) { return !command.has(key); }));
  }
  const char* const unstable = "TRYAGAIN Multiple keys request during rehashing of slot";
  if (migrates && missing > 0) {
    if (missing < command.keys.size()) return unstable;
    return redirection("ASK", slot, migrating->second);
  }
  if (imports && command.is_asking) {
    if (command.keys.size() > 1 && missing > 0) return unstable;
    return std::nullopt;
  }
  if (owner != number_) return redirection("MOVED", slot, owner);
  return std::nullopt;
}

void FakeClusterNode::append_slots(std::string& out) const {
  std::string ranges;
  std::size_t count = 0;
  for_each_range(*map_, [&](std::size_t first, std::size_t last, std::size_t owner) {
    std::vector<const Node*> all{&map_->nodes[owner]};
    for (std::size_t i = 0; i < map_->nodes.size(); ++i) {
      const Node& one = map_->nodes[i];
      if (i != owner && one.primary == owner && !one.has_failed) all.push_back(&one);
    }
    append_array(ranges, 2 + all.size());
    append_integer(ranges, static_cast<std::int64_t>(first));
    append_integer(ranges, static_cast<std::int64_t>(last));
    for (const Node* one : all) append_node(ranges, *one);
    ++count;
  });
  append_array(out, count);
  out += ranges;
}

/// Of the last ping and pong it says what a node says of itself.
std::string FakeClusterNode::line_of(std::size_t number) const {
  const Node& node = map_->nodes[number];
  const bool is_primary = node.primary == number;
  std::string line = node.id + ' ' + host + ':' + std::to_string(node.port) + '@' +
                     std::to_string(node.port + bus_offset) + ' ';
  if (number == number_) line += "myself,";
  line += is_primary ? "master" : "slave";
  if (node.has_failed) line += ",fail";
  line += ' ' + (is_primary ? "-" : map_->nodes[node.primary].id);
  line += " 0 0 " + std::to_string(is_primary ? node.epoch : map_->nodes[node.primary].epoch);
  line += node.has_failed ? " disconnected" : " connected";
  return line;
}

void FakeClusterNode::append_nodes(std::string& out) const {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < map_->nodes.size(); ++i) lines.push_back(line_of(i));
  for_each_range(*map_, [&](std::size_t first, std::size_t last, std::size_t owner) {
    lines[owner] += ' ' + std::to_string(first);
    if (last > first) lines[owner] += '-' + std::to_string(last);
  });
  for (const auto& [slot, to] : migrating_) {
    lines[number_] += " [" + std::to_string(slot) + "->-" + map_->nodes[to].id + ']';
  }
  for (const auto& [slot, from] : importing_) {
    lines[number_] += " [" + std::to_string(slot) + "-<-" + map_->nodes[from].id + ']';
  }
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  append_bulk(out, text);
}

}  // namespace redlatch::test
