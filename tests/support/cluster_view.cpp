#include "cluster_view.hpp"

#include <algorithm>
#include <sstream>

namespace redlatch::test {
namespace {

std::vector<std::string> split(const std::string& text, char separator) {
  std::istringstream stream(text);
  std::vector<std::string> parts;
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

unsigned number(const std::string& text) { return static_cast<unsigned>(std::stoul(text)); }

/// `ID HOST:PORT@BUS,NAME FLAG,FLAG PRIMARY PING PONG EPOCH connected 0-10 12 [13->-ID]`
SeenNode node_of(const std::vector<std::string>& words) {
  const std::string& address = words[1];
  SeenNode node{.id = words[0], .flags = split(words[2], ',')};
  node.bus_port = static_cast<std::uint16_t>(number(address.substr(address.find('@') + 1)));
  if (words[3] != "-") node.primary = words[3];
  node.epoch = std::stoull(words[6]);
  node.is_connected = words[7] == "connected";
  for (auto word = words.begin() + 8; word != words.end(); ++word) {
    if (word->starts_with('[')) continue;  // a slot that is on its way
    node.slots.push_back({number(*word), number(word->substr(word->find('-') + 1))});
  }
  return node;
}

}  // namespace

bool SeenNode::has(unsigned slot) const {
  return std::ranges::any_of(
      slots, [&](const Range& range) { return range.first <= slot && slot <= range.last; });
}

bool SeenNode::has_flag(const std::string& flag) const {
  return std::ranges::find(flags, flag) != flags.end();
}

std::vector<SeenNode> seen_nodes(const std::string& cluster_nodes) {
  std::vector<SeenNode> nodes;
  for (const std::string& line : split(cluster_nodes, '\n')) {
    const std::vector<std::string> words = split(line, ' ');
    if (words.size() >= 8) nodes.push_back(node_of(words));
  }
  std::ranges::sort(nodes, {}, &SeenNode::id);
  return nodes;
}

}  // namespace redlatch::test
