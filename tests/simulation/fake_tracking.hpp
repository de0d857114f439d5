#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fake_client.hpp"
#include "fake_commands.hpp"

namespace redlatch::test {

/// CLIENT TRACKING at a fake server: tells clients that keys have changed which they have read.
class FakeTracking {
 public:
  explicit FakeTracking(FakeClients& clients) : clients_(clients) {}

  /// The client whose command is run from now on; null: none.
  void set_running(FakeClient* running) noexcept { running_ = running; }
  /// The client has read these keys.
  void remember(const FakeClient& tracker, Words keys);
  void invalidate(std::string_view key);
  void invalidate_all();
  /// Tells the running client what its own command has changed, behind the reply to that.
  void send_pending();
  void forget() { tracked_.clear(); }

  // The commands.
  void track(FakeClient& client, Words words);
  void caching(FakeClient& client, Words words);

 private:
  void send_tracked(const FakeClient& tracker, const std::string* key);

  FakeClients& clients_;
  FakeClient* running_ = nullptr;
  std::map<std::string, std::set<std::uint64_t>, std::less<>> tracked_{};  // key: ids of clients
  std::vector<std::optional<std::string>> pending_{};  // invalidations for the running client
};

}  // namespace redlatch::test
