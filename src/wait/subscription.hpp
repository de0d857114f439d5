#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/waiter.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/settings.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// The connection on which a server sends a client messages for its waiters, by a Redis channel of
/// the client's own; a forked child has another. At a node of a cluster from Redis 7 on, the client
/// has a channel for each slot that it waits for: its messages do not go to the other nodes. One
/// thread at a time may use it: `GrantListener` sees to that.
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
    bool is_sharded = false;  // it has channels of slots
  };

  explicit Subscription(const Settings& settings) : settings_(settings) {}

  /// Connects and subscribes to the channel for the key, until `end` or until `cancel` gets
  /// readable. Throws `IoError`, with `not_permitted` when the server's ACL forbids the user to
  /// subscribe.
  Link subscribe(std::string_view key, TimePoint end, int cancel);
  void open(Link link) noexcept {
    assert(!is_open() && link.connection);
    link_ = std::move(link);
  }
  bool is_open() const noexcept { return link_.connection != nullptr; }
  void close() noexcept;
  /// In a forked child. `in_use`: a thread of the parent was using the connection, which may be in
  /// any state then, so its memory is left as it is.
  void abandon(bool in_use) noexcept;

  /// Where the messages about the key go. `is_pending` if the server is yet to acknowledge the
  /// channel, for which it is asked now. Throws `IoError` when the connection is lost.
  GrantAddress address(std::string_view key);
  /// Of the topology that led there.
  std::uint64_t version() const noexcept { return is_open() ? link_.connection->version : 0; }
  int fd() const noexcept { return is_open() ? link_.connection->transport->fd() : -1; }
  /// All messages that have come. Throws `IoError` when the connection is lost.
  std::vector<Message> receive_available();

 private:
  struct Channel {
    std::string name;
    bool is_asked_for = false;  // on the present connection
    bool is_open = false;       // the server has acknowledged it there
  };
  /// In the slots of a cluster, else at 0. Kept for the life of the client: entries that it has at
  /// the server name them, also across a new connection.
  using Channels = std::map<std::size_t, Channel>;

  protocol::Reply open_channel(Link& link, std::string_view key, TimePoint end);
  Channel& channel_of(std::string_view key, bool is_sharded);
  bool note_channel(const protocol::Reply& reply) noexcept;

  const Settings& settings_;
  std::string token_{};  // of the channels; empty before the first subscription
  Channels plain_{};
  Channels sharded_{};
  Link link_{};
};

}  // namespace redlatch::detail
