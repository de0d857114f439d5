#pragma once

#include <poll.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

#include "base/settings.hpp"
#include "net/asking_threads.hpp"
#include "net/connection.hpp"

namespace redlatch::detail {

/// The reply of a Sentinel. Throws `IoError`, also for an error reply.
protocol::Reply ask_sentinel(const Connection& connection, const protocol::Command& command,
                             TimePoint deadline);

/// The subscription of a client to the events of one Sentinel. It connects on a thread of its own;
/// all else never waits. A Sentinel that does not answer a PING for a second is left, and one that
/// refuses the subscription is left alone for a minute.
///
/// The topology's mutex guards it.
class SentinelSubscription {
 public:
  /// Of a failover: that a replica was promoted, or that the Sentinel knows the new primary.
  /// Otherwise, that there is another Sentinel, or that one has another address.
  enum class Event { failover, arrival };
  using Hear = std::function<void(Event event, std::string_view message)>;

  bool is_open() const noexcept { return connection_ != nullptr; }
  bool is_opening() const noexcept { return opening_ != nullptr; }
  /// Since when nothing of it is known: when the last PING that was answered was sent, or when it
  /// was opened. If this process was stopped behind that, the Sentinel may be cut off since.
  TimePoint shown_at() const noexcept { return shown_at_; }
  /// It was closed, as the Sentinel did not answer a PING any more.
  bool is_silent() const noexcept { return is_silent_ && !is_open(); }
  /// When `open` may be called, unless it is open or opening.
  TimePoint open_at() const noexcept { return open_at_; }

  /// Begins to subscribe, until `deadline`. Throws `std::system_error` when there is no thread or
  /// descriptor left.
  void open(AskingThreads& threads, std::shared_ptr<const Settings> settings, TimePoint deadline,
            std::minstd_rand& random);
  /// Adds the descriptor that shows that something has come, if it is open or opening, and returns
  /// the latest time at which `attend` is to be called.
  TimePoint watch(std::vector<pollfd>& descriptors) const;
  /// Calls `hear` for each message that has come. True when it is open since this call: what
  /// happened before was not heard.
  bool attend(const Hear& hear, std::minstd_rand& random);

  /// To be called when its thread uses TLS no more, also behind `AskingThreads::wait_for_all`.
  void end() noexcept;
  void after_fork_in_child() noexcept;

 private:
  using Opening = DetachedCall<std::shared_ptr<Connection>>;

  bool end_opening(std::minstd_rand& random);
  void receive(const Hear& hear);
  void ping();
  void close(std::minstd_rand& random) noexcept;
  void open_later(std::minstd_rand& random) noexcept;

  std::shared_ptr<Opening> opening_{};
  std::shared_ptr<Connection> connection_{};  // null unless it is open
  TimePoint ping_at_{};
  bool is_pinged_ = false;               // and has not answered
  std::optional<TimePoint> asked_at_{};  // the oldest PING whose own answer has not come
  TimePoint shown_at_{};
  bool is_silent_ = false;
  TimePoint open_at_{};
  std::chrono::milliseconds max_pause_ = min_max_pause;

  /// The pause before the next attempt has jitter, up to a maximum that doubles with each failure.
  static constexpr std::chrono::milliseconds min_pause{50};
  static constexpr std::chrono::milliseconds min_max_pause{1000};
  static constexpr std::chrono::milliseconds max_max_pause{4000};
};

}  // namespace redlatch::detail
