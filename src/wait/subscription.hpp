#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/detail/queue_place.hpp>

#include "net/connection.hpp"
#include "base/settings.hpp"

namespace redlatch::detail {

/// The connection on which a server tells a client what those who wait want to know. One thread at
/// a time may read it. The channel is the client's own; a forked child has another.
class Mailbox {
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
  /// A connection that is subscribed to the channel.
  struct Subscription {
    std::unique_ptr<Session> session{};
    std::int64_t number = 0;  // the server's, for changes of keys; 0: it does not tell them
  };

  explicit Mailbox(const Settings& settings) : settings_(settings) {}

  /// Connects until `end` or until `cancel` gets readable. Throws `IoError`, with `not_permitted`
  /// when the server does not let its user.
  Subscription subscribe(TimePoint end, int cancel);
  void open(Subscription subscription) noexcept { subscription_ = std::move(subscription); }
  bool is_open() const noexcept { return subscription_.session != nullptr; }
  void close() noexcept { subscription_ = {}; }
  /// In a forked child. What another thread of the parent was using cannot be taken apart.
  void abandon(bool in_use) noexcept;

  Address address() const noexcept { return {channel_, subscription_.number}; }
  int fd() const noexcept { return is_open() ? subscription_.session->fd() : -1; }
  /// All messages that have come. Throws `IoError` when the connection is lost.
  std::vector<Message> take_in() const;

 private:
  const Settings& settings_;
  std::string channel_{};  // none before the first subscription
  Subscription subscription_{};
};

}  // namespace redlatch::detail
