#include "background/background.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/io_error.hpp"
#include "base/quiet_thread.hpp"
#include "base/unlocked.hpp"
#include "net/poll.hpp"
#include "net/topology.hpp"

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

}  // namespace

void Background::stop() noexcept {
  const MutexLock lock(mutex_);
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
    run();  // the system had no thread: the open releases are sent by this one
  }
  notifier_.finish();
  if (settings_.topology) settings_.topology->end();
}

void Background::serve(NodeConnections& connections, EventSource& subscriptions) {
  connections_ = &connections;
  event_source_ = &subscriptions;
  renewing_.reserve(Renewer::max_picked);  // each lease may be on a connection of its own
}

void Background::add(std::string_view key, const CleanupRelease& cleanup,
                     MemoryRetry& retry) noexcept {
  retry([&] {
    repeat_later(release_of(key, cleanup, *settings_.routes, BootClock::now()));
    return true;
  });
}

std::error_code Background::connect(SharedConnection& connection) noexcept {
  const MutexLock lock(mutex_);
  try {
    if (std::find(to_connect_.begin(), to_connect_.end(), &connection) == to_connect_.end()) {
      to_connect_.push_back(&connection);
    }
  } catch (const std::bad_alloc&) {
    return make_error_code(std::errc::not_enough_memory);
  }
  const std::error_code failure = start();
  event_fd_.signal();
  return failure;
}

void Background::send_release(std::string_view key, const CleanupRelease& cleanup,
                              MemoryRetry& retry) noexcept {
  retry([&] {
    run_exclusively(release_of(key, cleanup, *settings_.routes, BootClock::now()),
                    ConnectPolicy::never, TimePoint::max());
    return true;
  });
}

void Background::repeat_later(PendingRequests releases) noexcept {
  const MutexLock lock(mutex_);
  for (const PendingRequest& one : releases) {
    if (one.release.was_not_writable()) is_not_writable_ = is_refused_ = true;
  }
  releases_.splice(releases_.end(), releases);
  wake();
}

void Background::adopt(Pipeline pipeline, std::unique_ptr<Transport> transport) noexcept {
  const MutexLock lock(mutex_);
  releases_.splice(releases_.end(), draining_.adopt(std::move(pipeline), std::move(transport)));
  wake();
}

void Background::ended(const PendingRelease& release, ReleaseOutcome outcome) noexcept {
  const std::optional<EventKind> kind = event_of(outcome);
  if (!kind) return;
  EventRecord record{.kind = *kind, .key = release.key(), .elapsed = release.held()};
  if (outcome == ReleaseOutcome::unknown) record.why = release.why();
  if (outcome == ReleaseOutcome::lost) record.why.text = release.loss();
  record_event(record);
}

Metrics Background::metrics() const {
  Metrics metrics = notifier_.metrics();
  metrics.held = renewer_.held();
  return metrics;
}

// Called at the end of most calls, so it mostly reads one flag. The thread clears the flag before
// it looks at the connections: a reply that is owed from then on sets it again.
void Background::expect_answers() noexcept {
  if (expecting_.load(std::memory_order_relaxed) || expecting_.exchange(true)) return;
  const MutexLock lock(mutex_);
  look_at_ = BootClock::now() + look_after;
  wake();
}

void Background::server_changed() noexcept {
  const MutexLock lock(mutex_);
  server_changed_ = true;
  wake();
}

void Background::wake() noexcept {
  static_cast<void>(start());
  event_fd_.signal();
}

// `wants_thread_` is set before the attempt and cleared behind it, so that it stays set when the
// attempt fails at any point.
std::error_code Background::start() noexcept {
  if (thread_.joinable()) return {};
  if (stopping_) return make_error_code(std::errc::operation_canceled);
  wants_thread_ = true;
  try {
    event_fd_.open();
    interrupt_.open();
    thread_ = thread_without_signals([this] { run(); });
    wants_thread_ = false;
    return {};
  } catch (...) {
    return code_of_shortage();
  }
}

/// Both threads are started before a lock is acquired: a lease that could not be renewed, or whose
/// loss could not be notified, must not begin.
void Background::require_thread() {
  if (runs_) return;
  const MutexLock lock(mutex_);
  std::error_code failure = start();
  if (!failure) failure = notifier_.ensure_started();
  if (failure) {
    throw Error(
        Errc::unreachable,
        "no thread can be started to look after locks (" + failure.message() + "); allow more",
        settings_.server);
  }
  runs_ = true;
}

void Background::keep(Lease& lease) noexcept {
  if (!renewer_.keep(lease)) return;
  const MutexLock lock(mutex_);
  wake();
  interrupt_.signal();
}

bool Background::hand_over(Lease& lease, const RenewalSchedule& schedule) noexcept {
  const Renewer::HandedOver handed_over = renewer_.hand_over(lease, schedule);
  if (handed_over == Renewer::HandedOver::yes_and_sooner) {
    const MutexLock lock(mutex_);
    wake();
  }
  return handed_over != Renewer::HandedOver::no;
}

void Background::renewed(const PendingRenewal& renewal, const protocol::Reply& reply,
                         TimePoint sent) noexcept {
  const Renewer::Answered answered = renewer_.answered(renewal, reply, sent, BootClock::now());
  if (answered == Renewer::Answered::redirected) {
    const MutexLock lock(mutex_);
    return wake();
  }
  if (answered != Renewer::Answered::counted || protocol::ours(reply) == protocol::Vote::no) {
    return;
  }
  const TimePoint::duration elapsed = BootClock::now() - renewal.since;
  if (!reply.is_error()) {
    return record_event({.kind = EventKind::renewed, .key = renewal.key(), .elapsed = elapsed});
  }
  const std::string explanation = explanation_of(reply);
  record_event({.kind = EventKind::renewal_failed,
                .key = renewal.key(),
                .elapsed = elapsed,
                .why = {make_error_code(protocol::classify(reply.text)), explanation}});
}

void Background::renewal_failed(const PendingRenewal& renewal, TimePoint sent,
                                const Failure& why) noexcept {
  const Sent asked{sent, renewal.connection};
  if (!renewer_.failed(*renewal.lease, renewal.ttl, asked, BootClock::now(), why)) return;
  record_event({.kind = EventKind::renewal_failed,
                .key = renewal.key(),
                .elapsed = BootClock::now() - renewal.since,
                .why = why});
}

bool Background::wants(const PendingRenewal& renewal) noexcept {
  return renewer_.is_wanted(*renewal.lease);
}

void Background::retry_start() noexcept {
  const MutexLock lock(mutex_);
  static_cast<void>(start());
}

// What the parent owes to the servers, the parent sends: the child would release the locks of its
// parent, or close its connections in its name. The thread does not exist here either: to destroy
// or join its handle would end the process, so it is left as it is.
void Background::after_fork_in_child() noexcept {
  draining_.abandon();
  releases_.clear();
  std::construct_at(&thread_);
  runs_ = false;
  wants_thread_ = watches_topology();
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

namespace {

/// Delay before the first look for the reply to a renewal. A server in the same data centre has
/// answered by then.
constexpr std::chrono::milliseconds look_soon{1};

}  // namespace

void Background::run() noexcept {
  const MutexLock lock(mutex_);
  for (;;) {
    try {
      const bool finished = work();
      if (finished && (all_settled() || BootClock::now() >= stop_at_)) break;
      rest();
    } catch (const std::exception&) {
      // Memory or descriptors have run out for a moment. No release is dropped for that: each is in
      // its list again, and is retried after the pause, which keeps this loop from using a core.
      const Unlocked unlocked(mutex_);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  assert(stopping_);
  draining_.close();
  for (const PendingRequest& one : releases_) ended(one.release, one.release.run_out());
}

bool Background::all_settled() const noexcept { return releases_.empty() && draining_.empty(); }

/// The order is that of urgency: a renewal that is late loses a lease, a connection or a release
/// that is late costs a moment. `renew_due` comes behind what never waits for a server, and the
/// steps behind it return early when a renewal gets due meanwhile (`is_pressed`).
bool Background::work() {
  draining_.receive_available();
  attend_topology();
  if (std::exchange(server_changed_, false)) drop_subscription();
  if (!stopping_) interrupt_.clear();
  if (!stopping_) renew_due();
  if (!stopping_) connect_wanted();
  repeat_due();
  const bool stopping = stopping_;
  if (!stopping && BootClock::now() < look_at_) return false;
  expecting_ = false;
  const TimePoint stop_at = stop_at_;
  // One end for all connections: with an end for each, several silent connections would take
  // several times command_timeout, and renewals would be late.
  const TimePoint end =
      stopping ? stop_at
               : std::min(renewal_timeout(), BootClock::now() + settings_.options.command_timeout);
  bool more = false;
  {
    const Unlocked unlocked(mutex_);
    // Every connection is read before the first is finished, since `finish` may wait until the end.
    for_each_connection([&](SharedConnection& one) { more |= one.receive_available(end); });
    if (stopping) for_each_connection([&](SharedConnection& one) { one.finish(stop_at); });
  }
  if (more) expecting_ = true;
  look_pause_ = renewer_.awaits_answers() ? std::min(2 * look_pause_, look_after) : look_after;
  look_at_ = expecting_ ? BootClock::now() + look_pause_ : TimePoint::max();
  return stopping;
}

/// A client that has only connected so far hears of a failover, too: its first lock may come much
/// later, and must not be asked for at a former primary.
bool Background::watches_topology() const noexcept {
  return settings_.topology && settings_.topology->wants_watch();
}

void Background::attend_topology() {
  if (!watches_topology()) return;
  {
    const Unlocked unlocked(mutex_);
    settings_.topology->attend();
  }
  const std::uint64_t version = settings_.topology->version();
  const std::uint64_t before = std::exchange(topology_version_, version);
  if (before == version || before == 0) return;  // 0: there was no server before this one
  server_changed_ = true;
  // A lock that the new server does not have is announced as lost now, and not with the next
  // renewal, as another client may acquire it there.
  renewer_.renew_all(BootClock::now());
  // Idle connections to the former server are closed now, and not when they are used next.
  const Unlocked unlocked(mutex_);
  for_each_connection([](SharedConnection& one) { one.look(); });
}

void Background::renew_due() {
  if (BootClock::now() < renewer_.due()) return;
  const int cancel = interrupt_.fd();
  bool any = false;
  {
    const Unlocked unlocked(mutex_);
    any = send_renewals(cancel);
  }
  if (!any) return;
  look_pause_ = look_soon;
  look_at_ = std::min(look_at_, BootClock::now() + look_pause_);
}

bool Background::send_renewals(int cancel) {
  assert(renewing_.empty());
  // A reply that has come and is unread may have renewed the lease: it is read first, so that the
  // lease is not renewed again.
  const TimePoint now = BootClock::now();
  const TimePoint end = std::min(renewal_timeout(), now + settings_.options.command_timeout);
  if (renewer_.awaits_answers()) {
    for_each_connection([&](SharedConnection& one) { one.receive_available(end); });
  }
  const std::span<Lease* const> due = renewer_.pick(BootClock::now());
  if (renew_) {
    renew_(due);
    return false;
  }
  for (Lease* lease : due) {
    SharedConnection& connection = connections_->of(*lease);
    if (!connection.renew(*lease)) {
      const Failure why{make_error_code(std::errc::not_enough_memory)};
      renewer_.failed(*lease, {}, {}, BootClock::now(), why);
      record_event({.kind = EventKind::renewal_failed,
                    .key = lease->key(),
                    .elapsed = BootClock::now() - lease->schedule().since,
                    .why = why});
    }
    if (std::find(renewing_.begin(), renewing_.end(), &connection) == renewing_.end()) {
      renewing_.push_back(&connection);
    }
  }
  const bool any = !due.empty();
  renewer_.picked_up();
  // Connected ones first: an attempt to connect may use up its share of the time until the first
  // loss, which would make the renewals on connections that are ready late.
  std::partition(renewing_.begin(), renewing_.end(),
                 [](const SharedConnection* connection) { return connection->connected(); });
  // One more share is left for the replies: those on connections that are ready are read behind all
  // attempts to connect.
  const TimePoint latest = renewer_.first_loss();
  auto left = static_cast<TimePoint::duration::rep>(renewing_.size()) + 1;
  // A silent node of a cluster is waited for once, and not on each connection to it: the renewals
  // at the other nodes get due meanwhile. The connections that were waited for in vain come first.
  auto in_vain = renewing_.begin();
  for (auto one = renewing_.begin(); one != renewing_.end(); ++one) {
    SharedConnection& connection = **one;
    const auto leads_to_same_node = [&](const SharedConnection* other) {
      return &other->settings() == &connection.settings();
    };
    const TimePoint begun = BootClock::now();
    const TimePoint::duration share = (latest - begun) / left--;
    if (std::any_of(renewing_.begin(), in_vain, leads_to_same_node)) {
      connection.leave_renewals();
      continue;
    }
    connection.send_renewals(begun + share, cancel);
    const bool was_silent = BootClock::now() - begun >=
                            std::min(share, TimePoint::duration(settings_.options.connect_timeout));
    if (connections_->are_of_cluster() && was_silent && !connection.connected()) {
      std::iter_swap(in_vain++, one);
    }
  }
  renewing_.clear();
  return any;
}

/// Until when the thread may wait for a server. Half of the time until the first loss would be
/// notified, or an awaited reply would be late, is left for renewals and their replies.
TimePoint Background::renewal_timeout() const noexcept {
  const TimePoint now = BootClock::now();
  const bool awaits = renewer_.awaits_answers();
  const TimePoint next = awaits ? now : renewer_.due();
  const TimePoint late = awaits ? now + settings_.options.command_timeout : TimePoint::max();
  const TimePoint end = std::min(renewer_.first_loss(), late);
  return end <= next ? next : next + (end - next) / 2;
}

/// A renewal is due or its reply is awaited, which comes before connections and open releases.
bool Background::is_pressed() const noexcept {
  return !stopping_ && (renewer_.awaits_answers() || BootClock::now() >= renewer_.due());
}

/// Connects the connections that calls to a quorum have asked for, and do not wait for.
void Background::connect_wanted() {
  while (!to_connect_.empty()) {
    SharedConnection* const connection = to_connect_.back();
    to_connect_.pop_back();
    const int cancel = interrupt_.fd();
    const TimePoint latest = renewal_timeout();
    {
      const Unlocked unlocked(mutex_);
      connection->repeat({}, latest, cancel);
    }
    if (is_pressed()) return;
  }
}

/// A release that a server refused because it cannot write waits for the next probe, which is one
/// release for all of them in each `probe_period`.
TimePoint Background::due_of(const PendingRelease& release) const noexcept {
  if (!is_not_writable_ || !release.was_not_writable()) return release.due();
  return std::max(release.due(), next_probe_);
}

/// Takes the releases that are due, of one connection, so that they go out in one batch. A release
/// that is over, or needs the connection exclusively, comes alone.
PendingRequests Background::take_due(TimePoint now) {
  PendingRequests due;
  const bool may_probe = is_not_writable_ && now >= next_probe_;
  if (may_probe) {
    is_not_writable_ = std::exchange(is_refused_, false);
    next_probe_ = now + probe_period;
  }
  std::optional<std::pair<std::size_t, std::size_t>> place;
  for (auto next = releases_.begin(); next != releases_.end();) {
    const auto one = next++;
    const PendingRelease& release = one->release;
    const bool probes = is_not_writable_ && release.was_not_writable() && !release.over(now);
    const bool alone = release.over(now) || release.needs_exclusive_use() || probes;
    if (probes && !may_probe) continue;
    if ((release.due() > now && !release.over(now)) || (alone && !due.empty())) continue;
    const auto its = connections_->place_of(release);
    if (place && its != *place) continue;
    place = its;
    due.splice(due.end(), releases_, one);
    if (alone) return due;
  }
  return due;
}

/// One end for all of them: with an end for each, releases on silent connections would keep the
/// thread from renewals for as many times as there are connections.
void Background::repeat_due() {
  const TimePoint now = BootClock::now();
  const TimePoint end = renewal_timeout();
  for (;;) {
    const TimePoint latest = stopping_ ? stop_at_ : end;
    PendingRequests due = take_due(now);
    if (due.empty()) return;
    if (BootClock::now() >= stop_at_) return releases_.splice(releases_.end(), due);
    const int cancel = stopping_ ? never_cancelled : interrupt_.fd();
    {
      const Unlocked unlocked(mutex_);
      repeat(std::move(due), now, latest, cancel);
    }
    if (is_pressed()) return;
  }
}

void Background::repeat(PendingRequests due, TimePoint now, TimePoint latest, int cancel) {
  assert(!due.empty());
  const PendingRelease& release = due.front().release;
  if (release.over(now)) {
    assert(due.size() == 1);
    ended(release, release.run_out());
  } else if (release.needs_exclusive_use()) {
    run_exclusively(std::move(due), ConnectPolicy::within_timeout, latest);
  } else {
    connections_->of(release).repeat(std::move(due), latest, cancel);
  }
}

/// A subscription on a server that is no primary any more gets no grants: these are published where
/// the releases are carried out.
void Background::drop_subscription() {
  if (event_source_ == nullptr) return;
  const Unlocked unlocked(mutex_);
  event_source_->drop();
}

/// Sends one release and waits for its reply. A release that needs WATCH cannot be sent in a batch.
void Background::run_exclusively(PendingRequests one, ConnectPolicy policy,
                                 TimePoint latest) noexcept {
  assert(one.size() == 1 && one.front().is_release);
  PendingRelease& release = one.front().release;
  const protocol::Command command = release.command();
  Response response;
  bool broke = true;
  try {
    const TimePoint end = BootClock::now() + settings_.options.command_timeout;
    connections_->of(release).execute({.key = release.key(), .commands = {&command, 1}}, response,
                                      policy, std::min(end, latest));
    broke = response.failure && response.failure->in_doubt();
  } catch (const std::bad_alloc&) {
    // The request may have been sent, so this counts as a lost connection.
  }
  const TimePoint now = BootClock::now();
  if (broke) {
    release.broke(Errc::timed_out, now);
  } else if (response.failure) {
    release.failed(static_cast<Errc>(response.failure->code().value()), now);
  } else if (const auto outcome = release.answered(response.replies.front(),
                                                   settings_.options.command_timeout, now)) {
    return ended(release, *outcome);
  }
  repeat_later(std::move(one));
}

/// Sleeps until a retry, a renewal or a look at the connections is due, a draining connection or
/// the subscription has bytes to read, or `event_fd_` is signalled.
void Background::rest() {
  TimePoint end = std::min({stop_at_, look_at_, draining_.until(), renewer_.due()});
  for (const PendingRequest& one : releases_) {
    end = std::min({end, due_of(one.release), one.release.until()});
  }
  std::vector<pollfd> watched{{.fd = event_fd_.fd(), .events = POLLIN, .revents = 0}};
  draining_.watch(watched);
  const bool stopping = stopping_;
  {
    const Unlocked unlocked(mutex_);
    if (!stopping && watches_topology()) end = std::min(end, settings_.topology->watch(watched));
    std::vector<EventSource::Source> sources;
    if (!stopping && event_source_ != nullptr) event_source_->add_sources(sources);
    for (const EventSource::Source& source : sources) {
      const bool is_listened_to = BootClock::now() < source.from;
      if (is_listened_to) end = std::min(end, source.from);
      watched.push_back({.fd = is_listened_to ? -1 : source.fd, .events = POLLIN, .revents = 0});
    }
    poll_until(watched, end);
    const auto has_come = [](const pollfd& one) { return one.revents != 0; };
    const auto first = watched.end() - static_cast<std::ptrdiff_t>(sources.size());
    if (std::any_of(first, watched.end(), has_come)) event_source_->receive_available();
  }
  event_fd_.clear();
}

}  // namespace redlatch::detail
