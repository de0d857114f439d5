#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/waiter.hpp>

#include "base/settings.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// The connection on which a server sends a client messages for its waiters, by a Redis channel of
/// the client's own; a forked child has another. One thread at a time may use it: `GrantListener`
/// sees to that.
class Subscription {
 public:
  struct Message {
    enum class Kind {
      grant,    // the server has granted the lock `key` to the entry with `value`
      refresh,  // the entry with `value` is the first, and the key is left to expire
      change,   // `key` was changed or deleted
      flush     // all keys were deleted, or the server has lost track of what it watches
    };
    Kind kind{};
    std::string key{};
    std::string value{};
  };
  /// A connection that is subscribed to the channel, not in use yet. Without a connection: it was
  /// closed at SUBSCRIBE.
  struct Link {
    std::unique_ptr<Connection> connection{};
    std::int64_t number = 0;  // its id at the server, to be sent changes of keys; 0: not sent
  };

  explicit Subscription(const Settings& settings) : settings_(settings) {}

  /// Connects and subscribes until `end` or until `cancel` gets readable. Throws `IoError`, with
  /// `not_permitted` when the server's ACL forbids the user to subscribe.
  Link subscribe(TimePoint end, int cancel);
  void open(Link link) noexcept {
    assert(!is_open() && link.connection);
    link_ = std::move(link);
  }
  bool is_open() const noexcept { return link_.connection != nullptr; }
  void close() noexcept { link_ = {}; }
  /// In a forked child. `in_use`: a thread of the parent was using the connection, which may be in
  /// any state then, so its memory is left as it is.
  void abandon(bool in_use) noexcept;

  GrantAddress address() const noexcept { return {channel_, link_.number}; }
  /// Of the topology that led there.
  std::uint64_t version() const noexcept { return is_open() ? link_.connection->version : 0; }
  int fd() const noexcept { return is_open() ? link_.connection->transport->fd() : -1; }
  /// All messages that have come. Throws `IoError` when the connection is lost.
  std::vector<Message> receive_available() const;

 private:
  const Settings& settings_;
  std::string channel_{};  // empty before the first subscription
  Link link_{};
};

}  // namespace redlatch::detail
