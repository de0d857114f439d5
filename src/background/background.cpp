#include "background/background.hpp"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "base/io_error.hpp"
#include "base/quiet_thread.hpp"
#include "net/poll.hpp"

namespace redlatch::detail {

namespace {

std::optional<EventKind> event_of(ReleaseOutcome outcome) noexcept {
  switch (outcome) {
    case ReleaseOutcome::released:
      return EventKind::released;
    case ReleaseOutcome::lost:
      return EventKind::lost;
    case ReleaseOutcome::unknown:
      return EventKind::release_unknown;
    default:
      return std::nullopt;
  }
}

std::error_code error_of(const PendingRelease& release, ReleaseOutcome outcome) noexcept {
  return outcome == ReleaseOutcome::unknown ? make_error_code(release.why()) : std::error_code();
}

}  // namespace

void Background::stop() noexcept {
  const Guard guard(mutex_);
  if (std::exchange(stopping_, true)) return;
  stop_at_ = BootClock::now() + settings_.options.command_timeout;
  interrupt_.signal();
  event_fd_.signal();
}

Background::~Background() {
  stop();
  if (thread_.joinable()) {
    thread_.join();
  } else {
    run();
  }
  notifier_.finish();
}

void Background::serve(std::vector<SharedConnection*> connections, ConnectionOf connection_of,
                       EventSource& watched) {
  connections_ = std::move(connections);
  event_source_ = &watched;
  renewing_.reserve(connections_.size());
  connection_of_ = std::move(connection_of);
}

void Background::add(std::string_view key, const CleanupRelease& cleanup) noexcept {
  try {
    repeat_later(release_of(key, cleanup, *settings_.routes));
  } catch (const std::bad_alloc&) {
    // Nothing can be remembered without memory: the ttl does the rest.
  }
}

void Background::connect(SharedConnection& connection) noexcept {
  const Guard guard(mutex_);
  if (std::find(to_connect_.begin(), to_connect_.end(), &connection) != to_connect_.end()) return;
  try {
    to_connect_.push_back(&connection);
  } catch (const std::bad_alloc&) {
    return;  // the next call tries again
  }
  wake();
}

void Background::send_release(std::string_view key, const CleanupRelease& cleanup) noexcept {
  try {
    run_exclusively(release_of(key, cleanup, *settings_.routes), ConnectPolicy::never,
                    TimePoint::max());
  } catch (const std::bad_alloc&) {
    // As above.
  }
}

void Background::repeat_later(PendingRequests releases) noexcept {
  const Guard guard(mutex_);
  releases_.splice(releases_.end(), releases);
  wake();
}

void Background::adopt(Pipeline pipeline) noexcept {
  const Guard guard(mutex_);
  releases_.splice(releases_.end(), retired_.adopt(std::move(pipeline)));
  wake();
}

void Background::ended(const PendingRelease& release, ReleaseOutcome outcome) noexcept {
  const std::optional<EventKind> kind = event_of(outcome);
  if (kind) record_event(*kind, release.key(), release.since(), error_of(release, outcome));
}

void Background::record_event(EventKind kind, std::string_view key, TimePoint since,
                              std::error_code error) noexcept {
  notifier_.record_event(kind, key, since, error);
}

Metrics Background::metrics() const {
  Metrics metrics = notifier_.metrics();
  metrics.held = renewer_.held();
  return metrics;
}

void Background::expect_answers() noexcept {
  if (expecting_.load(std::memory_order_relaxed) || expecting_.exchange(true)) return;
  const Guard guard(mutex_);
  look_at_ = BootClock::now() + look_after;
  wake();
}

void Background::server_changed() noexcept {
  const Guard guard(mutex_);
  server_changed_ = true;
  wake();
}

void Background::wake() noexcept {
  start();
  event_fd_.signal();
}

void Background::start() noexcept {
  if (thread_.joinable() || stopping_) return;
  wants_thread_ = true;
  try {
    event_fd_.open();
    interrupt_.open();
    thread_ = thread_without_signals([this] { run(); });
    wants_thread_ = false;
  } catch (const std::exception&) {
    // No thread or descriptor is left: the next command tries again, and so does the destructor.
  }
}

void Background::require_thread() {
  if (runs_) return;
  const Guard guard(mutex_);
  start();
  if (thread_.joinable() && notifier_.ensure_started()) {
    runs_ = true;
    return;
  }
  throw Error(Errc::unreachable, "no thread can be started to look after locks; allow more",
              settings_.server);
}

void Background::keep(Lease& lease) noexcept {
  if (!renewer_.keep(lease)) return;
  const Guard guard(mutex_);
  wake();
  interrupt_.signal();
}

bool Background::hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept {
  const Renewer::HandedOver handed_over = renewer_.hand_over(lease, schedule);
  if (handed_over == Renewer::HandedOver::yes_and_sooner) {
    const Guard guard(mutex_);
    wake();
  }
  return handed_over != Renewer::HandedOver::no;
}

void Background::renewed(const PendingRenewal& renewal, const protocol::Reply& reply,
                         TimePoint sent) noexcept {
  const Renewer::Answered answered = renewer_.answered(renewal, reply, sent, BootClock::now());
  if (answered != Renewer::Answered::counted || protocol::ours(reply) == protocol::Vote::no) {
    return;
  }
  const bool good = !reply.is_error();
  record_event(good ? EventKind::renewed : EventKind::renewal_failed, renewal.key(), renewal.since,
               good ? std::error_code() : make_error_code(protocol::classify(reply.text)));
}

void Background::renewal_failed(const PendingRenewal& renewal, TimePoint sent,
                                std::error_code why) noexcept {
  const Sent asked{sent, renewal.connection};
  if (!renewer_.failed(*renewal.lease, renewal.ttl, asked, BootClock::now())) return;
  record_event(EventKind::renewal_failed, renewal.key(), renewal.since, why);
}

bool Background::wants(const PendingRenewal& renewal) noexcept {
  return renewer_.is_wanted(*renewal.lease);
}

void Background::retry_start() noexcept {
  const Guard guard(mutex_);
  start();
}

void Background::after_fork_in_child() noexcept {
  retired_.abandon();
  releases_.clear();
  std::construct_at(&thread_);
  runs_ = false;
  wants_thread_ = false;
  expecting_ = false;
  to_connect_.clear();
  look_at_ = TimePoint::max();
  server_changed_ = false;
  event_fd_.close();
  interrupt_.close();
  renewer_.after_fork_in_child();
  notifier_.after_fork_in_child();
  mutex_.unlock();
}

}  // namespace redlatch::detail
