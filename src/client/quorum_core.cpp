#include "client/quorum_core.hpp"

#include <algorithm>
#include <exception>
#include <list>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <redlatch/detail/quorum_reply.hpp>
#include <redlatch/error.hpp>

#include "base/memory_retry.hpp"
#include "client/require.hpp"
#include "engine/pending_renewal.hpp"

namespace redlatch::detail {
namespace {

/// What can be known without a connection. Two names of one server are found by its id, with the
/// first connections: `DistinctServers`.
void check(const std::vector<std::string>& urls, const QuorumOptions& options) {
  require(!urls.empty(), "a quorum has no servers; name an odd number of them, three or five");
  std::set<std::string> names;
  for (const std::string& url : urls) {
    Endpoint endpoint = parse_url(url);
    if (!endpoint.sentinels.empty() || !endpoint.nodes.empty()) {
      throw Error(Errc::unsupported,
                  "a quorum cannot have " + endpoint.name() +
                      ": a failover may forget a lock that its majority has counted; name single "
                      "servers (redis://, rediss:// or unix://)");
    }
    endpoint.database = 0;  // two databases of one server are lost together
    const std::string name = endpoint.name();
    require(names.insert(name).second,
            "the server " + name + " is named twice; each has one voice in a quorum");
  }
  require(is_time_out(options.server_timeout), "server_timeout must be from 1 ms to 24 h");
  require(options.min_uptime >= std::chrono::milliseconds::zero(),
          "min_uptime must not be negative; use 0 for any");
}

std::vector<std::string> names_of(const std::vector<std::string>& urls) {
  std::vector<std::string> names;
  names.reserve(urls.size());
  for (const std::string& url : urls) names.push_back(parse_url(url).name());
  return names;
}

/// One extension of a lease, pending at the servers.
struct Extension {
  Extension(const std::vector<std::unique_ptr<Node>>& nodes, Lease& lease,
            PollNotifier& poll_notifier, TimePoint end) {
    renewal.begin(lease);
    command = renewal.command.view();
    requests.assign(nodes.size(), {.key = renewal.key(), .commands = {&*command, 1}});
    responses.resize(nodes.size());
    // A server that is away is connected for the next renewal; this one does not wait for it.
    request.emplace(nodes, requests, responses, ConnectPolicy::within_timeout, poll_notifier,
                    QuorumRequest::Ends{end, end});
  }

  PendingRenewal renewal{};
  std::optional<protocol::Command> command{};
  std::vector<Request> requests{};
  std::vector<Response> responses{};
  std::optional<QuorumRequest> request{};
};

protocol::Reply as_reply(protocol::Vote vote) {
  return {.kind = protocol::Reply::Kind::integer, .integer = vote == protocol::Vote::yes ? 1 : 0};
}

}  // namespace

QuorumCore::QuorumCore(const std::vector<std::string>& urls, QuorumOptions options)
    : settings_{.endpoint = {},
                .options = options.client,
                .server = std::string(all_servers),
                .role = {}},
      server_timeout_(options.server_timeout),
      distinct_servers_(names_of(urls)),
      background_(settings_),
      nodes_(make_nodes(urls, std::move(options))) {
  background_.serve([this](std::span<Lease* const> due) { renew(due); });
}

QuorumCore::Nodes QuorumCore::make_nodes(const std::vector<std::string>& urls,
                                         QuorumOptions options) {
  check(urls, options);
  // Events of connections come to `on_event` by the same thread as those of locks.
  options.client.on_event = {};
  Nodes nodes;
  for (std::size_t i = 0; i < urls.size(); ++i) {
    nodes.push_back(std::make_unique<Node>(std::make_shared<ClientCore>(
        urls[i], options.client,
        NodeRole{
            .is_one_of_several = urls.size() > 1,
            .only_scripts = true,
            .min_uptime = options.min_uptime,
            .admit = [this, i](std::string_view id) { distinct_servers_.admit(i, id); },
            .forward = [this](const EventRecord& record) { background_.record_event(record); }})));
  }
  return nodes;
}

/// The nodes are destroyed one after the other, and each waits for its open releases until its
/// `command_timeout` is over. All of these times begin here, so that the whole takes only one.
QuorumCore::~QuorumCore() {
  {
    const MutexLock lock(renewing_);
    closed_ = true;
  }
  for (const auto& node : nodes_) node->core().stop();
}

void QuorumCore::execute(std::span<const Request> requests, std::span<Response> responses,
                         Enough enough, ConnectPolicy policy) {
  const TimePoint begun = BootClock::now();
  TimePoint end = begun + server_timeout_;
  try {
    const BorrowedPollNotifier poll_notifier(notifiers_);
    const bool separate_timeout = policy == ConnectPolicy::separate_timeout;
    const TimePoint connecting_end =
        separate_timeout ? end + settings_.options.connect_timeout : end;
    QuorumRequest request(nodes_, requests, responses, policy, *poll_notifier,
                          {end, connecting_end});
    // With a majority connected, no acquisition waits for a server that is down; without one there
    // can be no lock before more are connected.
    if (request.connected() <= nodes_.size() / 2) end = connecting_end;
    request.wait(enough, end, begun + server_timeout_);
    // At the end of the time the requests without an answer have failed. With enough answers before
    // that they are only left: they may still be carried out, and their answers are discarded.
    if (BootClock::now() >= end) request.end();
    request.leave();
    // A connection that `admit` has refused is tried again with the next attempt only.
    if (requests.front().cleanup != nullptr) distinct_servers_.require_distinct();
  } catch (...) {
    // Memory has run out, or two URLs lead to one server. Some servers may have granted the lock,
    // so it is released at all of them.
    const Request& request = requests.front();
    if (request.cleanup != nullptr) post(request.key, *request.cleanup);
    throw;
  }
  background_.ensure_started();
}

/// Records the outcome at once, since no server alone can tell it.
void QuorumCore::post(std::string_view key, const CleanupRelease& cleanup) noexcept {
  MemoryRetry retry;
  for (const auto& node : nodes_) node->core().post(key, {cleanup.command, cleanup.ttl}, retry);
  if (cleanup.of == CleanupRelease::Reason::lease) {
    record_event({.kind = EventKind::released, .key = key, .elapsed = cleanup.held});
  }
  if (cleanup.of == CleanupRelease::Reason::ended_lease) {
    record_event({.kind = EventKind::lost,
                  .key = key,
                  .elapsed = cleanup.held,
                  .why = {.text = lease_was_over}});
  }
}

Metrics QuorumCore::metrics() const {
  Metrics metrics = background_.metrics();
  metrics.waiting = nodes_.front()->core().metrics().waiting;
  return metrics;
}

/// Without `renewing_`: a fork does not wait for the replies to renewals.
void QuorumCore::before_fork() {
  background_.before_fork();
  notifiers_.before_fork();
  distinct_servers_.before_fork();
}

void QuorumCore::after_fork_in_parent() {
  distinct_servers_.after_fork_in_parent();
  notifiers_.after_fork_in_parent();
  background_.after_fork_in_parent();
}

void QuorumCore::after_fork_in_child() noexcept {
  std::construct_at(&renewing_);  // a renewal of the parent may have held it
  distinct_servers_.after_fork_in_child();
  notifiers_.after_fork_in_child();
  background_.after_fork_in_child();
}

/// All renewals are sent before `picked_up` lets a lock take its lease back, so that no renewal
/// follows a release.
void QuorumCore::renew(std::span<Lease* const> due) {
  const MutexLock lock(renewing_);
  Renewer& renewer = background_.renewer();
  if (closed_) return renewer.picked_up();
  // One notifier for all extensions, as each is a descriptor.
  std::optional<BorrowedPollNotifier> poll_notifier;
  std::list<Extension> extensions;
  const TimePoint sent = BootClock::now();
  // A slow server may use up half of the time until the first loss; the other half is left for
  // another try.
  const TimePoint latest =
      sent + std::max((renewer.first_loss() - sent) / 2, TimePoint::duration::zero());
  const TimePoint end = std::min(sent + server_timeout_, latest);
  for (Lease* lease : due) {
    try {
      if (!poll_notifier) poll_notifier.emplace(notifiers_);
      extensions.emplace_back(nodes_, *lease, **poll_notifier, end);
    } catch (const std::exception&) {
      // No memory or descriptor is left: the renewal is retried.
      const Failure why{make_error_code(std::errc::not_enough_memory)};
      if (renewer.failed(*lease, lease->schedule().ttl, {sent}, BootClock::now(), why)) {
        record_event({.kind = EventKind::renewal_failed,
                      .key = lease->key(),
                      .elapsed = BootClock::now() - lease->schedule().since,
                      .why = why});
      }
    }
  }
  renewer.picked_up();
  const TimePoint last = std::min(sent + server_timeout_, renewer.first_loss());
  for (Extension& extension : extensions) {
    try {
      extension.request->wait(QuorumReply::settled, last, {});
    } catch (const std::exception&) {
      // No memory is left to wait: the replies that have come are counted.
    }
    extension.request->leave();
    renewer.learn(extension.renewal, extension.responses);
    const protocol::Vote vote = QuorumReply::vote(extension.responses, protocol::ours);
    if (vote == protocol::Vote::refused) {
      QuorumReply::NoMajority why;
      try {
        why = QuorumReply::no_majority(*this, extension.responses, true, protocol::ours);
      } catch (const std::bad_alloc&) {
        // The event has the code alone.
      }
      background_.renewal_failed(extension.renewal, {}, {make_error_code(why.code), why.text});
    } else {
      background_.renewed(extension.renewal, as_reply(vote), {});
    }
  }
}

}  // namespace redlatch::detail
