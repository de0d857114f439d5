#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <redlatch/protocol/side_key.hpp>

namespace redlatch::test {

/// What a fake server is as a node of a cluster: what it knows of the cluster, and what it says of
/// it and of keys that are elsewhere. Replies are those of Redis 7.0.
class FakeClusterNode {
 public:
  struct Node {
    std::string id{};  // 40 digits
    std::uint16_t port = 0;
    std::size_t primary = 0;  // its own number: it is one
    std::uint64_t epoch = 0;  // of its claim to its slots
    bool has_failed = false;  // as a majority of the primaries has found
  };
  /// All of a cluster, as it is or as a node knows it.
  struct Map {
    std::vector<Node> nodes{};
    std::array<std::uint8_t, protocol::slots> owners{};  // numbers of nodes; `none`
  };
  static constexpr std::uint8_t none = 255;

  FakeClusterNode(std::size_t number, std::chrono::milliseconds node_timeout)
      : number_(number), node_timeout_(node_timeout) {}

  std::size_t number() const noexcept { return number_; }
  std::chrono::milliseconds node_timeout() const noexcept { return node_timeout_; }
  const std::shared_ptr<const Map>& map() const noexcept { return map_; }
  void learn(std::shared_ptr<const Map> map) { map_ = std::move(map); }
  /// All commands about keys are answered CLUSTERDOWN.
  void set_down(bool is_down) noexcept { is_down_ = is_down; }
  /// The primary of the slot moves it to that node, key by key; nothing: not any more.
  void set_migrating(unsigned slot, std::optional<std::size_t> to) { set(migrating_, slot, to); }
  /// Takes commands about the slot behind ASKING.
  void set_importing(unsigned slot, std::optional<std::size_t> from) {
    set(importing_, slot, from);
  }

  /// A command about keys.
  struct Command {
    std::vector<std::string_view> keys{};
    bool is_asking = false;
    bool is_about_channels = false;               // of shards, which are no keys
    std::function<bool(std::string_view)> has{};  // whether a key is here
  };
  /// The error that it is answered with; nothing: it is run here.
  std::optional<std::string> refusal(const Command& command) const;
  /// Replies to CLUSTER SLOTS and CLUSTER NODES.
  void append_slots(std::string& out) const;
  void append_nodes(std::string& out) const;

 private:
  using Marks = std::map<unsigned, std::size_t>;

  static void set(Marks& marks, unsigned slot, std::optional<std::size_t> node);
  std::string redirection(const char* how, std::size_t slot, std::size_t to) const;
  std::string line_of(std::size_t node) const;

  std::size_t number_;
  std::chrono::milliseconds node_timeout_;
  std::shared_ptr<const Map> map_{};
  bool is_down_ = false;
  Marks migrating_{};
  Marks importing_{};
};

}  // namespace redlatch::test
