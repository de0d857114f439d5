#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include <redlatch/detail/executor.hpp>

#include "aftermath.hpp"
#include "exchange.hpp"
#include "io_error.hpp"
#include "line.hpp"
#include "settings.hpp"

namespace redlatch::detail {

/// One of the client's connections, shared by all its callers. Everything about a key goes through
/// the same channel while anything about it is outstanding (see `Routes`), so it arrives in the
/// order in which it was said.
///
/// There is no thread of its own. A caller that finds the channel idle leads: it writes and reads.
/// Who comes meanwhile queues up. A leader whose own answer has come writes everything queued in
/// one go and makes one of those the next leader, so that one batch is under way at a time.
class Channel {
 public:
  Channel(const Settings& settings, Aftermath& aftermath)
      : settings_(settings), aftermath_(aftermath), line_(settings, aftermath) {}

  /// Says one request and leaves the replies, or the failure, in `response`. `end` is that of the
  /// wait for an answer, had nobody to connect.
  void execute(const Request& request, Response& response, Connecting connecting, TimePoint end);

  /// Says a request, or queues it where somebody else leads or there is no connection, and waits
  /// for nothing: the caller has a bell. `look` takes in what has come, as `take_in` does, and
  /// `leave` ends it.
  void begin(Caller& caller);
  /// It has time until `end`.
  void extend(Caller& caller, TimePoint end) noexcept;
  void look(TimePoint end) noexcept { static_cast<void>(take_in(end)); }
  /// The caller has waited for long enough. What it asked for is not taken back.
  void leave(Caller& caller) noexcept;
  /// Puts what has become of a caller that is done into its response. Throws `std::bad_alloc` when
  /// memory had run out.
  void conclude(Caller& caller);
  /// For polls; -1: there is no connection.
  int fd() const noexcept {
    const Guard guard(mutex_);
    return line_.fd();
  }

  enum class Posted { yes, no_connection, no_memory, needs_conversation };
  /// Sends a release at once, or puts it into the next batch, and waits for nothing.
  Posted post(std::string_view key, const Undo& undo) noexcept;

  /// Which releases are still to be answered here.
  Line::Owed owed(const Keys& keys) const noexcept {
    const Guard guard(mutex_);
    return line_.owed(keys);
  }

  /// Puts a renewal into the next batch, which `say_renewals` sends. False without memory.
  bool renew(Tenure& tenure) noexcept;
  /// Connects if need be, until `latest` or until `cancel` gets readable, and sends the renewals.
  void say_renewals(TimePoint latest, int cancel) noexcept { repeat({}, latest, cancel); }

  /// Says releases again, connecting if need be and if it is time to, until `latest` or until
  /// `cancel` gets readable.
  void repeat(Exchanges releases, TimePoint latest, int cancel) noexcept;
  /// Whether somebody uses it right now. Only a hint: that may have changed already.
  bool busy() const noexcept { return led_; }
  bool connected() const noexcept {
    const Guard guard(mutex_);
    return line_.connected();
  }
  /// Takes in what has come when nobody leads, and says in another way what was refused, until
  /// `end` at the latest. False when there is nothing to come.
  bool take_in(TimePoint end) noexcept;
  /// Nobody uses the channel any more: sends and reads what is owed, until `end` at the latest.
  void finish(TimePoint end) noexcept;

  // Around fork(2): nobody changes the channel meanwhile, and the child forgets the connection.
  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  using Guard = Line::Guard;

  /// How long a caller goes on waiting. Time spent connecting, by itself or by others before it, is
  /// not counted against the answer, but is at most `connect_timeout` in all.
  struct Patience {
    Connecting connecting;
    TimePoint end;  // of the wait for an answer, had nobody to connect
    std::chrono::nanoseconds connected_before;
  };

  bool say(const Request& request, Response& response, Connecting connecting, TimePoint end);
  void await(Caller& caller, const Patience& patience, Guard& guard);
  void lead(Caller& caller, const Patience& patience, Guard& guard);
  bool try_step(Caller& caller, const Patience& patience, Guard& guard);
  void step(Caller& caller, const Patience& patience, Guard& guard);
  void retry_refused(Caller& caller, TimePoint end, Guard& guard);
  enum class Refused { mended, opened };
  void judge() noexcept;
  bool begin_grace(Caller& caller) const noexcept;
  TimePoint end_of(const Caller& caller, const Patience& patience) const noexcept {
    return std::max(end_of(patience), caller.grace_until);
  }
  enum class Stale { retired, kept };
  bool pass_on(Refused releases, Guard& guard, Stale stale = Stale::retired) noexcept;
  void mend_renewals(TimePoint end, Guard& guard);
  bool may_connect() noexcept;
  void await_attempt(TimePoint next, Guard& guard);
  void connect(Caller* caller, const Patience& patience, int cancel, Guard& guard);

  TimePoint command_end() const noexcept {
    return BootClock::now() + settings_.options.command_timeout;
  }
  std::chrono::nanoseconds connecting_time() const noexcept;
  TimePoint end_of(const Patience& patience) const noexcept;

  const Settings& settings_;
  Aftermath& aftermath_;

  mutable std::mutex mutex_{};
  std::atomic<bool> led_ = false;
  Line line_;
  bool connecting_ = false;
  TimePoint connecting_since_{};
  std::chrono::nanoseconds connected_for_{0};  // spent in all on connecting
  std::optional<IoError> failure_{};           // of the last attempt to connect, if it failed
};

}  // namespace redlatch::detail
