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

/// How a release that nobody waits for has ended; `done` is of no interest to anybody.
enum class ReleaseOutcome { done, released, lost, unknown };

/// A release that nobody waits for: what to say, and what the answers mean. It is open until the
/// server has answered, or until the lease is over by itself.
class PendingRelease {
 public:
  /// Begins another one. Keeps the memory of the one before.
  void begin(std::string_view key, const CleanupRelease& cleanup, TimePoint now);
  /// It was said on a connection that broke. What the server has of that, it may read later than
  /// what comes on another.
  void broke(Errc why, TimePoint now) noexcept;
  /// This release goes out on a new connection, so it may reach the server before the acquisition
  /// that it undoes. While `older`, the connection of that acquisition, lives, "not ours" is not
  /// final; afterwards it is once the server has had time to read what was sent on it.
  void may_be_overtaken(std::weak_ptr<const void> older = {}) noexcept {
    overtaken_ = of_ == CleanupRelease::Reason::doubt;
    if (overtaken_ && older_.expired()) older_ = std::move(older);
  }
  /// Makes `copy` the one of the two that reports how the release ends, whichever of them the
  /// server carries out. Throws `std::bad_alloc`, and nothing has changed then.
  void hand_on_to(PendingRelease& copy);
  /// It could not be said; nothing is known of the server but that.
  void failed(Errc why, TimePoint now) noexcept;
  /// There is no connection before `time`.
  void wait_until(TimePoint time) noexcept { due_ = std::max(due_, time); }

  /// The server takes it only in a conversation.
  void needs_exclusive_use(TimePoint now) noexcept {
    converses_ = true;
    due_ = now;
  }

  /// Nothing: it stays open, and is `due` again later.
  std::optional<ReleaseOutcome> answered(const protocol::Reply& reply,
                                         std::chrono::milliseconds settling,
                                         TimePoint now) noexcept;
  /// How it ends when there will be no answer any more.
  ReleaseOutcome run_out() const noexcept;

  const std::string& key() const noexcept { return key_; }
  protocol::Command command() const { return command_.view(); }
  TimePoint since() const noexcept { return since_; }
  TimePoint due() const noexcept { return due_; }
  bool over(TimePoint now) const noexcept { return now >= until_; }
  TimePoint until() const noexcept { return until_; }
  bool needs_exclusive_use() const noexcept { return converses_; }
  /// Why the last attempt was not answered.
  Errc why() const noexcept { return why_; }

 private:
  std::string key_{};
  protocol::OwnedCommand command_{};
  CleanupRelease::Reason of_{};
  TimePoint since_{};                  // when what it gives back was acquired
  TimePoint until_{};                  // then the lease is over by itself
  TimePoint due_{};                    // for the next attempt
  std::chrono::milliseconds pause_{};  // before the attempt after that
  bool repeated_ = false;
  bool converses_ = false;
  bool overtaken_ = false;    // a first "not ours" may be too early
  TimePoint settled_from_{};  // when "not ours" is an answer
  std::weak_ptr<const void> older_{};
  std::shared_ptr<std::atomic<bool>> done_{};  // one of the copies was answered with yes
  Errc why_{};
};

}  // namespace redlatch::detail
