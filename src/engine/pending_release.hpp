#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <redlatch/detail/executor.hpp>
#include <redlatch/error.hpp>
#include <redlatch/protocol/command.hpp>
#include <redlatch/protocol/reply.hpp>

namespace redlatch::detail {

/// How a release without a caller has ended.
enum class ReleaseOutcome {
  done,      // it cleaned up, and no event follows
  released,  // the lock was ours until now
  lost,      // the lock was not ours any more
  unknown    // no reply can show it: an earlier attempt may have released it, or the ttl is over
};

/// A release without a caller: the command, the schedule of its attempts, and what the replies
/// mean. It is open until the server has given a final reply, or until the lease is over by itself.
/// It belongs to the list that it is in: a shared connection's, or the background's.
class PendingRelease {
 public:
  /// Begins a new release in the memory of an old one.
  void begin(std::string_view key, const CleanupRelease& cleanup, TimePoint now);
  /// The release was sent on a connection that broke. The server may read it, and what was sent
  /// before it, later than the next attempt on another connection.
  void broke(Errc why, TimePoint now, std::string_view explanation = {}) noexcept;
  /// This release goes out on a new connection, so it may reach the server before the acquisition
  /// that it undoes. While `older`, the connection of that acquisition, lives, "not ours" is not
  /// final; afterwards it is once the server has had time to read what was sent on it.
  void may_be_overtaken(std::weak_ptr<const void> older = {}) noexcept {
    overtaken_ = reason_ == CleanupRelease::Reason::doubt;
    if (overtaken_ && older_.expired()) older_ = std::move(older);
  }
  /// The server has answered this release, and the acquisition that it undoes is in doubt on
  /// `older`, which was given up. Does nothing from the moment on that this release settles.
  void follows(const std::weak_ptr<const void>& older) noexcept {
    if (settled_from_ == TimePoint{}) may_be_overtaken(older);
  }
  /// Makes `copy` a copy of this release that reports the outcome of both, whichever the server
  /// carries out; this one ends without an event. Throws `std::bad_alloc`, with no effect.
  void hand_on_to(PendingRelease& copy);
  /// An attempt failed: the next is due after a pause, which doubles from 10 ms to 1 s.
  void failed(Errc why, TimePoint now, std::string_view explanation = {}) noexcept;
  /// Puts the next attempt off until `time`, before which there will be no connection.
  void wait_until(TimePoint time) noexcept { due_ = std::max(due_, time); }

  /// The server takes this release only in a WATCH/MULTI/EXEC transaction.
  void require_exclusive_use(TimePoint now) noexcept {
    exclusive_use_ = true;
    due_ = now;
  }

  /// The outcome by this reply. Nothing: the release stays open, and is `due` again. `settling`:
  /// how long after a break "not ours" may be premature.
  std::optional<ReleaseOutcome> answered(const protocol::Reply& reply,
                                         std::chrono::milliseconds settling,
                                         TimePoint now) noexcept;
  /// The outcome when the ttl is over or the client ends.
  ReleaseOutcome run_out() const noexcept;

  const std::string& key() const noexcept { return key_; }
  protocol::Command command() const { return command_.view(); }
  /// For how long the lock was held.
  TimePoint::duration held() const noexcept { return held_; }
  TimePoint due() const noexcept { return due_; }
  bool over(TimePoint now) const noexcept { return now >= until_; }
  TimePoint until() const noexcept { return until_; }
  bool needs_exclusive_use() const noexcept { return exclusive_use_; }
  /// Whether the next attempt goes to the node of a cluster to which the key is being moved.
  bool asks() const noexcept { return asks_; }
  /// The server has refused the last attempt, as it cannot write at present.
  bool was_not_writable() const noexcept { return was_not_writable_; }
  /// The error of the last failed attempt, of which this keeps the text.
  Failure why() const noexcept { return {make_error_code(why_), explanation_}; }
  /// Why the lock is lost, if that is the outcome.
  std::string_view loss() const noexcept {
    return reason_ == CleanupRelease::Reason::ended_lease ? lease_was_over : is_not_ours;
  }

 private:
  void redirect(const protocol::Reply& reply, protocol::Redirection how, TimePoint now) noexcept;

  std::string key_{};
  protocol::OwnedCommand command_{};
  CleanupRelease::Reason reason_{};
  TimePoint::duration held_{};         // for how long the lock was held
  TimePoint until_{};                  // when the lease ends by itself
  TimePoint due_{};                    // of the next attempt
  std::chrono::milliseconds pause_{};  // between the next attempt and the one behind it
  bool repeated_ = false;              // an earlier attempt may have been carried out
  bool exclusive_use_ = false;
  bool was_not_writable_ = false;
  bool asks_ = false;
  int redirects_ = 0;                          // in a row
  bool overtaken_ = false;                     // the first "not ours" may be premature
  TimePoint settled_from_{};                   // from then on "not ours" is final
  std::weak_ptr<const void> older_{};          // the connection of the acquisition, while it lives
  std::shared_ptr<std::atomic<bool>> done_{};  // set when a copy was answered with yes
  Errc why_{};
  std::string explanation_{};
};

}  // namespace redlatch::detail
