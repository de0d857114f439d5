#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/waiter.hpp>

#include "base/settings.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// The connection on which a server tells a client what those who wait want to know. One thread at
/// a time may read it. The channel is the client's own; a forked child has another.
class Subscription {
 public:
  struct Message {
    enum class Kind {
      grant,   // the key is the value's now
      change,  // of the key
      flush    // of all keys
    };
    Kind kind{};
    std::string key{};
    std::string value{};
  };
  /// A connection that is subscribed to the channel. None: it was closed at that.
  struct Link {
    std::unique_ptr<Connection> connection{};
    std::int64_t number = 0;  // the server's, for changes of keys; 0: it does not tell them
  };

  explicit Subscription(const Settings& settings) : settings_(settings) {}

  /// Connects until `end` or until `cancel` gets readable. Throws `IoError`, with `not_permitted`
  /// when the server does not let its user.
  Link subscribe(TimePoint end, int cancel);
  void open(Link link) noexcept { link_ = std::move(link); }
  bool is_open() const noexcept { return link_.connection != nullptr; }
  void close() noexcept { link_ = {}; }
  /// In a forked child. What another thread of the parent was using cannot be taken apart.
  void abandon(bool in_use) noexcept;

  Address address() const noexcept { return {channel_, link_.number}; }
  int fd() const noexcept { return is_open() ? link_.connection->fd() : -1; }
  /// All messages that have come. Throws `IoError` when the connection is lost.
  std::vector<Message> receive_available() const;

 private:
  const Settings& settings_;
  std::string channel_{};  // none before the first subscription
  Link link_{};
};

}  // namespace redlatch::detail
