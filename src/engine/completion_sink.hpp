#pragma once

#include <memory>

#include <redlatch/detail/event_record.hpp>

#include "engine/pending_request.hpp"
#include "engine/pipeline.hpp"
#include "engine/renewal_filter.hpp"
#include "net/transport.hpp"

namespace redlatch::detail {

/// Takes what a shared connection cannot finish by itself, as it has no thread of its own: the
/// client's background is one. All members are called with the connection's mutex held, so they
/// must not call any shared connection, and take their own mutexes behind it.
class CompletionSink : public RenewalFilter {
 public:
  CompletionSink() = default;
  CompletionSink(const CompletionSink&) = delete;
  CompletionSink& operator=(const CompletionSink&) = delete;
  virtual ~CompletionSink() = default;

  /// Keeps releases, and sends them again when they are due.
  virtual void repeat_later(PendingRequests releases) noexcept = 0;
  /// Takes a retired connection, and reads its remaining replies.
  virtual void adopt(Pipeline pipeline, std::unique_ptr<Transport> transport) noexcept = 0;
  /// A release has ended, with this outcome.
  virtual void ended(const PendingRelease& release, ReleaseOutcome outcome) noexcept = 0;
  /// A renewal was refused, and is not retried, as a newer command about its lease was carried out.
  virtual void superseded(const PendingRenewal& renewal) noexcept = 0;
  /// The reply to a renewal that was sent at `sent`.
  virtual void renewed(const PendingRenewal& renewal, const protocol::Reply& reply,
                       TimePoint sent) noexcept = 0;
  /// There will be no reply to a renewal. `sent` is `TimePoint{}` if it was not sent.
  virtual void renewal_failed(const PendingRenewal& renewal, TimePoint sent,
                              const Failure& why) noexcept = 0;
  /// A connection was dropped because its server is not a primary: others may lead there, too.
  virtual void server_changed() noexcept = 0;
  /// Counts an event, and queues it for `ClientOptions::on_event`.
  virtual void record_event(const EventRecord& record) noexcept = 0;
  /// Replies are to come for which no call waits: to be read soon, unless a call reads them first.
  virtual void expect_answers() noexcept = 0;
};

}  // namespace redlatch::detail
