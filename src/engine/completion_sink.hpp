#pragma once

#include <string_view>
#include <system_error>

#include <redlatch/event.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"

namespace redlatch::detail {

/// What a channel leaves to somebody else, since it has no thread of its own. Called with the
/// channel's mutex held.
class CompletionSink {
 public:
  CompletionSink() = default;
  CompletionSink(const CompletionSink&) = delete;
  CompletionSink& operator=(const CompletionSink&) = delete;
  virtual ~CompletionSink() = default;

  /// Releases to be said again when they are due.
  virtual void repeat_later(PendingRequests releases) noexcept = 0;
  void repeat_later(PendingRequests& from, PendingRequests::iterator release) noexcept;
  /// All releases of a list with other exchanges.
  void repeat_releases_later(PendingRequests& from) noexcept;
  /// Hands on what the server said to an exchange that nobody waits for. False when that is a
  /// release that has to be said again, which is not in the list any more.
  bool answered(PendingRequests& from, PendingRequests::iterator pending,
                std::chrono::milliseconds settling) noexcept;
  /// A connection that is not used any more, with answers to come.
  virtual void adopt(Pipeline pipeline) noexcept = 0;
  /// A release has ended.
  virtual void ended(const PendingRelease& release, ReleaseOutcome outcome) noexcept = 0;
  /// Whether a renewal that was queued is still to be said.
  virtual bool wants(const PendingRenewal& renewal) noexcept = 0;
  /// A renewal was refused, and a newer command about its lease was carried out: there will be no
  /// retry, but the next renewal at its time.
  virtual void superseded(const PendingRenewal& renewal) noexcept = 0;
  /// What the server said to a renewal that left at `sent`.
  virtual void renewed(const PendingRenewal& renewal, const protocol::Reply& reply,
                       TimePoint sent) noexcept = 0;
  /// There will be no answer. `sent` is `TimePoint{}` when nothing was.
  virtual void renewal_failed(const PendingRenewal& renewal, TimePoint sent,
                              std::error_code why) noexcept = 0;
  /// A connection was dropped because it led to a server that is no primary.
  virtual void server_changed() noexcept = 0;
  /// Something to count, and to tell the program.
  virtual void record_event(EventKind kind, std::string_view key, TimePoint since,
                            std::error_code error) noexcept = 0;
  /// Somebody has to take in answers, should nobody else use the channel soon.
  virtual void expect_answers() noexcept = 0;
};

}  // namespace redlatch::detail
