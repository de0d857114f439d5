#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "fake_client.hpp"
#include "fake_commands.hpp"

namespace redlatch::test {

/// Publish and subscribe at a fake server.
class FakeMessages {
 public:
  explicit FakeMessages(FakeClients& clients) : clients_(clients) {}

  std::size_t subscribers(std::string_view channel) const;
  /// Ends the subscriptions to channels of shards that are out, and says so.
  void end_shard_channels(const std::function<bool(std::string_view)>& is_out);

  // The commands.
  void publish(FakeClient& client, Words words);
  void shard_publish(FakeClient& client, Words words);
  void subscribe(FakeClient& client, Words words);
  void subscribe_pattern(FakeClient& client, Words words);
  void shard_subscribe(FakeClient& client, Words words);
  void unsubscribe(FakeClient& client, Words words);
  void unsubscribe_pattern(FakeClient& client, Words words);
  void shard_unsubscribe(FakeClient& client, Words words);
  void count_subscribers(FakeClient& client, Words words);
  void count_shard_subscribers(FakeClient& client, Words words);
  void count_patterns(FakeClient& client, Words words);

 private:
  std::int64_t publish_to(std::string_view channel, std::string_view message, bool of_shard);

  FakeClients& clients_;
};

}  // namespace redlatch::test
