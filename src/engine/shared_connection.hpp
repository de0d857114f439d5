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

#include "base/io_error.hpp"
#include "base/settings.hpp"
#include "engine/completion_sink.hpp"
#include "engine/multiplexer.hpp"
#include "engine/pending_request.hpp"

namespace redlatch::detail {

/// One of the client's connections, shared by all its callers. Everything about a key goes through
/// the same channel while anything about it is outstanding (see `Routes`), so it arrives in the
/// order in which it was said.
///
/// There is no thread of its own. A caller that finds the channel idle leads: it writes and reads.
/// Who comes meanwhile queues up. A leader whose own answer has come writes everything queued in
/// one go and makes one of those the next leader, so that one batch is under way at a time.
class SharedConnection {
 public:
  SharedConnection(const Settings& settings, CompletionSink& sink)
      : settings_(settings), sink_(sink), multiplexer_(settings, sink) {}

  /// Says one request and leaves the replies, or the failure, in `response`. `end` is that of the
  /// wait for an answer, had nobody to connect.
  void execute(const Request& request, Response& response, ConnectPolicy policy, TimePoint end);

  /// Says a request, or queues it where somebody else leads or there is no connection, and waits
  /// for nothing: the caller has a bell. `look` takes in what has come, as `receive_available`
  /// does, and `leave` ends it.
  void begin(Call& call);
  /// It has time until `end`.
  void extend(Call& call, TimePoint end) noexcept;
  void look(TimePoint end) noexcept { static_cast<void>(receive_available(end)); }
  /// The caller has waited for long enough. What it asked for is not taken back.
  void leave(Call& call) noexcept;
  /// Puts what has become of a caller that is done into its response. Throws `std::bad_alloc` when
  /// memory had run out.
  void conclude(Call& call);
  /// For polls; -1: there is no connection.
  int fd() const noexcept {
    const Guard guard(mutex_);
    return multiplexer_.fd();
  }

  enum class PostResult { yes, no_connection, no_memory, needs_exclusive_use };
  /// Sends a release at once, or puts it into the next batch, and waits for nothing.
  PostResult post(std::string_view key, const CleanupRelease& cleanup) noexcept;

  /// Which releases are still to be answered here.
  Multiplexer::Owed owed(const Keys& keys) const noexcept {
    const Guard guard(mutex_);
    return multiplexer_.owed(keys);
  }

  /// Puts a renewal into the next batch, which `send_renewals` sends. False without memory.
  bool renew(Lease& lease) noexcept;
  /// Connects if need be, until `latest` or until `cancel` gets readable, and sends the renewals.
  void send_renewals(TimePoint latest, int cancel) noexcept { repeat({}, latest, cancel); }

  /// Says releases again, connecting if need be and if it is time to, until `latest` or until
  /// `cancel` gets readable.
  void repeat(PendingRequests releases, TimePoint latest, int cancel) noexcept;
  /// Whether somebody uses it right now. Only a hint: that may have changed already.
  bool busy() const noexcept { return has_leader_; }
  bool connected() const noexcept {
    const Guard guard(mutex_);
    return multiplexer_.connected();
  }
  /// Takes in what has come when nobody leads, and says in another way what was refused, until
  /// `end` at the latest. False when there is nothing to come.
  bool receive_available(TimePoint end) noexcept;
  /// Nobody uses the channel any more: sends and reads what is owed, until `end` at the latest.
  void finish(TimePoint end) noexcept;

  // Around fork(2): nobody changes the channel meanwhile, and the child forgets the connection.
  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  using Guard = Multiplexer::Guard;

  /// How long a caller goes on waiting. Time spent connecting, by itself or by others before it, is
  /// not counted against the answer, but is at most `connect_timeout` in all.
  struct Deadline {
    ConnectPolicy policy;
    TimePoint end;  // of the wait for an answer, had nobody to connect
    std::chrono::nanoseconds connected_before;
  };

  bool execute_once(const Request& request, Response& response, ConnectPolicy policy,
                    TimePoint end);
  void await(Call& call, const Deadline& deadline, Guard& guard);
  void lead(Call& call, const Deadline& deadline, Guard& guard);
  bool try_step(Call& call, const Deadline& deadline, Guard& guard);
  void step(Call& call, const Deadline& deadline, Guard& guard);
  void retry_refused(Call& call, TimePoint end, Guard& guard);
  enum class Refused { retrying, opened };
  void judge() noexcept;
  bool begin_grace(Call& call) const noexcept;
  TimePoint end_of(const Call& call, const Deadline& deadline) const noexcept {
    return std::max(end_of(deadline), call.grace_until);
  }
  enum class Stale { retired, kept };
  bool pass_on(Refused releases, Guard& guard, Stale stale = Stale::retired) noexcept;
  void retry_renewals(TimePoint end, Guard& guard);
  bool may_connect() noexcept;
  void await_attempt(TimePoint next, Guard& guard);
  void connect(Call* call, const Deadline& deadline, int cancel, Guard& guard);

  TimePoint command_end() const noexcept {
    return BootClock::now() + settings_.options.command_timeout;
  }
  std::chrono::nanoseconds connecting_time() const noexcept;
  TimePoint end_of(const Deadline& deadline) const noexcept;

  const Settings& settings_;
  CompletionSink& sink_;

  mutable std::mutex mutex_{};
  std::atomic<bool> has_leader_ = false;
  Multiplexer multiplexer_;
  bool connecting_ = false;
  TimePoint connecting_since_{};
  std::chrono::nanoseconds connected_for_{0};  // spent in all on connecting
  std::optional<IoError> failure_{};           // of the last attempt to connect, if it failed
};

}  // namespace redlatch::detail
