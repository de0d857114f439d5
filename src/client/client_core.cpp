#include "client/client_core.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include <redlatch/detail/backoff.hpp>
#include <redlatch/detail/finally.hpp>
#include <redlatch/protocol/shared.hpp>
#include <redlatch/protocol/side_key.hpp>

#include "base/printable.hpp"
#include "client/require.hpp"
#include "net/cluster_topology.hpp"
#include "net/credential_source.hpp"
#include "net/poll.hpp"
#include "net/resolver.hpp"
#include "net/sentinel_topology.hpp"
#include "net/tls_transport.hpp"

namespace redlatch::detail {
namespace {

/// For how long the release of a lock is retried that was granted to a waiter which has left.
constexpr std::chrono::minutes max_grant{1};

/// For how long a request is tried again whose keys a cluster has at two nodes.
constexpr std::chrono::milliseconds max_try_again{200};

/// One call on a cluster. Follows redirects, and rides out a slot that is being moved or has no
/// node, until `end`. What was redirected was not carried out. A request that is sent again has its
/// first command only, and a WAIT: what else it asks for concerns the node that it was made for.
class ClusterCall {
 public:
  ClusterCall(const Request& request, const Settings& settings, TimePoint end)
      : request_(request), settings_(settings), sent_(request), end_(end), latest_(end) {}

  /// `index`: of the key's connections, as of `Routes`.
  void run(NodeConnections& connections, std::size_t index, ConnectPolicy policy,
           Response& response) {
    send(connections, index, policy, response);
    while (goes_on(response, policy)) {
      response = {};
      send(connections, index, policy, response);
    }
  }

 private:
  using How = protocol::Redirection;

  void send(NodeConnections& connections, std::size_t index, ConnectPolicy policy,
            Response& response) {
    const Topology& topology = *settings_.topology;
    node_ = sent_.asks ? topology.asked_node_of(request_.key) : topology.node_of(request_.key);
    SharedConnection& connection = connections.at(node_, index, request_.may_block());
    its_topology_ = connection.settings().topology.get();
    version_ = its_topology_->version();
    connection.execute(sent_, response, policy, end_);
  }

  bool is_elsewhere() const noexcept { return settings_.topology->node_of(request_.key) != node_; }
  /// Whether the node has lost its slots meanwhile, or the key is at another one.
  bool has_changed() const noexcept {
    return is_elsewhere() || its_topology_->version() != version_;
  }

  bool goes_on(Response& response, ConnectPolicy policy) {
    How how = How::moved;
    if (response.failure) {
      // The nodes were not known yet, or the connection was to one that has lost its slots.
      if (response.failure->in_doubt() || !has_changed()) return false;
      if (node_ == Topology::unknown_node) count_from(BootClock::now(), policy);
    } else {
      how = protocol::redirection(response.replies.front());
      if (how == How::none) return false;
      count_from(response.sent, policy);
      if (how == How::apart) note_apart(response);
      redirect_ = response.replies.front().text;
    }
    if (!has_time(how)) {
      give_up(how, response);
      return false;
    }
    prepare(how);
    return true;
  }

  /// Finding the nodes and connecting to the first one do not count.
  void count_from(TimePoint sent, ConnectPolicy policy) {
    if (redirects_ > 0 || policy != ConnectPolicy::separate_timeout) return;
    latest_ = end_ = std::max(end_, sent + settings_.options.command_timeout + request_.blocks);
  }

  /// A slot may be moved for minutes, and the caller may have another way.
  void note_apart(const Response& response) {
    apart_ = response.replies.front();
    latest_ = std::min(latest_, BootClock::now() + max_try_again);
  }

  /// Whether to send it again, after a pause unless it is known what else to send, or where.
  bool has_time(How how) {
    bool is_known = how == How::asks || (how == How::moved && is_elsewhere());
    if (how == How::apart && !alone_) {
      alone_ = protocol::without_side_keys(request_.commands.front());
      is_known = alone_.has_value();
    }
    const bool pauses = redirects_++ >= protocol::max_redirects || !is_known;
    TimePoint now = BootClock::now();
    if (pauses && now < latest_ && !request_.is_stopped()) {
      poll_until({}, std::min(latest_, now + backoff_.next({})));
      // Without any time left, the connection would fail, and hide what the nodes have said.
      now = BootClock::now();
    }
    return now < latest_ && !request_.is_stopped();
  }

  void prepare(How how) {
    sent_.asks = how == How::asks || (how == How::apart && sent_.asks);
    if (alone_) {
      sent_.commands = {&*alone_, 1};
    } else if (!request_.may_block()) {
      sent_.commands = request_.commands.first(1);
    }
  }

  /// The time was over before a node was found that has the key.
  void give_up(How how, Response& response) {
    if (apart_) {
      response = {};
      response.replies.push_back(*std::move(apart_));
    } else if (how != How::down && (!response.failure || redirects_ > protocol::max_redirects)) {
      response.failure = protocol::about(
          Errc::not_writable, request_.key, settings_.server,
          "the nodes of the cluster do not agree on which of them has the key; the last one said "
          "\"" +
              redirect_ + "\"");
    }
  }

  const Request& request_;
  const Settings& settings_;
  Request sent_;  // the last time
  TimePoint end_;
  TimePoint latest_;  // the end of further attempts
  std::size_t node_ = 0;
  const Topology* its_topology_ = nullptr;
  std::uint64_t version_ = 0;  // of that, when the request was sent
  int redirects_ = 0;
  std::string redirect_{};  // the last reply by which the key is at another node
  Backoff backoff_{};
  std::optional<protocol::Reply> apart_{};    // the reply by which the keys are at two nodes
  std::optional<protocol::Command> alone_{};  // what is sent since then
};

Settings checked(std::string_view url, ClientOptions options, NodeRole role) {
  require(is_time_out(options.connect_timeout), "connect_timeout must be from 1 ms to 24 h");
  require(is_time_out(options.command_timeout), "command_timeout must be from 1 ms to 24 h");
  require(options.connections >= 1 && options.connections <= 1024,
          "connections must be from 1 to 1024");
  require(options.busy_poll >= std::chrono::microseconds::zero(), "busy_poll must not be negative");
  // No wait is longer, and no sum overflows.
  options.busy_poll =
      std::min<std::chrono::microseconds>(options.busy_poll, std::chrono::hours(24));
  require(is_printable(options.client_name),
          "client_name has a space, a control character or one outside ASCII, which Redis refuses");
  Endpoint endpoint = parse_url(url);
  std::string server = endpoint.name();
  role.must_be_primary = !endpoint.sentinels.empty();
  auto tls = endpoint.tls ? make_tls_context(options.tls, endpoint.host) : nullptr;
  auto routes = std::make_shared<Routes>(options.connections);
  auto credentials = options.credentials ? std::make_shared<CredentialSource>(options.credentials)
                                         : std::shared_ptr<CredentialSource>();
  std::shared_ptr<Topology> topology;
  if (!endpoint.sentinels.empty()) {
    topology = std::make_shared<SentinelTopology>(endpoint, options, tls);
  } else if (!endpoint.nodes.empty()) {
    topology = std::make_shared<ClusterTopology>(endpoint, options, tls, credentials);
  } else {
    topology = std::make_shared<Resolver>(endpoint, tls);
  }
  return {.endpoint = std::move(endpoint),
          .options = std::move(options),
          .server = std::move(server),
          .role = std::move(role),
          .topology = std::move(topology),
          .tls = std::move(tls),
          .credentials = std::move(credentials),
          .routes = std::move(routes),
          .closings = std::make_shared<Closings>()};
}

}  // namespace

ClientCore::ClientCore(std::string_view url, ClientOptions options, NodeRole role)
    : settings_(checked(url, std::move(options), std::move(role))),
      connections_(settings_, background_),
      wait_queues_(
          [this](std::string_view key) -> const Settings& {
            return connections_.settings(settings_.topology->node_of(key));
          },
          [this](Lease& lease, const RenewalSchedule& schedule) {
            return background_.hand_over(lease, schedule);
          },
          {.give_back =
               [this](std::string_view key, std::string_view value) {
                 post(key, {protocol::give_back(key, value), max_grant});
               },
           .look_later = [this] { background_.expect_answers(); },
           .record_event = [this](const EventRecord& record) { background_.record_event(record); },
           .is_for_another = {}}),
      background_(settings_) {
  background_.serve(connections_, wait_queues_);
  ForkAware& self = *this;
  registration_.emplace(self);
}

void ClientCore::execute(std::span<const Request> requests, std::span<Response> responses,
                         Enough /*one server is enough or not there*/, ConnectPolicy policy) {
  const Request& request = requests.front();
  // Keeps the key on one connection until the answer, or what becomes of a request in doubt, has a
  // pin of its own there.
  const RoutePin pin = settings_.routes->pin(request.key);
  ++callers_;
  const Finally leave([this] { --callers_; });
  const TimePoint end = BootClock::now() + settings_.options.command_timeout + request.blocks;
  const bool acquires = request.cleanup != nullptr;
  const bool is_cluster = connections_.are_of_cluster();
  if (is_cluster) refuse_several_slots(request);
  if (acquires && (several_owed() || Keys::are_several(request.commands.front()))) {
    // Where a connection is silent, the other half of the time is left for the acquisition.
    await_releases(request, end - settings_.options.command_timeout / 2);
  }
  const std::size_t index = Routes::connection(pin);
  if (is_cluster) {
    ClusterCall(request, settings_, end).run(connections_, index, policy, responses.front());
  } else {
    connections_.at(0, index, request.may_block()).execute(request, responses.front(), policy, end);
  }
  if (acquires && responses.front().failure) note_owed(*request.cleanup);
  background_.ensure_started();
}

/// Before anything is sent: a script has all of its keys at one node.
void ClientCore::refuse_several_slots(const Request& request) const {
  const protocol::Command& command = request.commands.front();
  if (!Keys::are_several(command)) return;
  const Keys keys(request.key, command);
  const std::size_t slot = protocol::slot_of(request.key);
  std::string other;
  keys.any([&](std::string_view key) {
    if (protocol::slot_of(key) == slot) return false;
    other = key;
    return true;
  });
  if (other.empty()) return;
  throw protocol::about(Errc::invalid_argument, request.key, settings_.server,
                        "the key \"" + protocol::printable(other) +
                            "\" is in another slot of the cluster; give all keys that are locked "
                            "together the same hash tag, as in {tag}:name");
}

/// Releases of one of the keys that were posted on other connections may be carried out later than
/// a command on the key's own. The reply to a PTTL behind such a release shows that the release was
/// carried out; a refused release is retried behind the first PTTL, and in front of the second.
void ClientCore::await_releases(const Request& request, TimePoint end) {
  const Keys keys(request.key, request.commands.front());
  const SharedConnection* const own = &connection_of(request.key);
  const protocol::Command question(protocol::Expect::anything, "PTTL", request.key);
  // Read before the connections are looked at, so that no release is missed that is posted
  // meanwhile.
  const std::uint64_t posted = several_posted_;
  bool any_several = false;
  connections_.for_each([&](SharedConnection& connection) {
    Multiplexer::Owed owed = connection.owed(keys);
    for (int asked = 0; owed.release && &connection != own && asked < 2; ++asked) {
      Response ignored;
      connection.execute({.key = request.key, .commands = {&question, 1}}, ignored,
                         ConnectPolicy::never, end);
      owed = connection.owed(keys);
    }
    any_several |= owed.several;
  });
  if (any_several) return;
  std::uint64_t settled = several_settled_;
  while (settled < posted && !several_settled_.compare_exchange_weak(settled, posted)) {
  }
}

/// A release goes out now if that needs no wait, and by the background thread if not, so that the
/// end of a scope waits for a server only where the server takes releases by WATCH alone.
void ClientCore::post(std::string_view key, const CleanupRelease& cleanup) noexcept {
  MemoryRetry retry;
  post(key, cleanup, retry);
}

void ClientCore::post(std::string_view key, const CleanupRelease& cleanup,
                      MemoryRetry& retry) noexcept {
  const RoutePin pin = settings_.routes->pin(key);
  const std::size_t node = settings_.topology->node_of(key);
  SharedConnection& connection = connections_.at(node, Routes::connection(pin));
  SharedConnection::PostResult result{};
  retry([&] {
    result = connection.post(key, cleanup);
    return result != SharedConnection::PostResult::no_memory;
  });
  switch (result) {
    case SharedConnection::PostResult::yes:
      return note_owed(cleanup);
    case SharedConnection::PostResult::no_memory:  // the lease ends with its ttl
      return;
    case SharedConnection::PostResult::no_connection:
    case SharedConnection::PostResult::late:
      return background_.add(key, cleanup, retry);
    case SharedConnection::PostResult::needs_exclusive_use:
      // The last owner of a client ends it next, and the end sends open releases by itself.
      if (weak_from_this().use_count() > 1) return background_.send_release(key, cleanup, retry);
      return background_.add(key, cleanup, retry);
  }
}

/// With as many calls as connections or more, the calls on one connection go out in batches, and
/// the larger the batches, the less a call costs: keys then keep the connection of their hash
/// instead of moving to idle ones.
RoutePin ClientCore::route(std::string_view key) noexcept {
  if (callers_ >= settings_.options.connections) return settings_.routes->return_and_pin(key);
  const std::size_t node = settings_.topology->node_of(key);
  return settings_.routes->move_and_pin(key, [this, node](std::size_t connection) {
    return connections_.at(node, connection).busy();
  });
}

/// In the order in which these mutexes are taken under each other. Each member then is whole in the
/// child, whatever the threads of the parent were doing.
void ClientCore::before_fork() {
  wait_queues_.before_fork();
  connections_.before_fork();
  background_.before_fork();
  settings_.topology->before_fork();
  if (settings_.credentials) settings_.credentials->before_fork();
}

void ClientCore::after_fork_in_parent() {
  if (settings_.credentials) settings_.credentials->after_fork_in_parent();
  settings_.topology->after_fork_in_parent();
  background_.after_fork_in_parent();
  connections_.after_fork_in_parent();
  wait_queues_.after_fork_in_parent();
}

void ClientCore::after_fork_in_child() noexcept {
  ++process_;  // so no lease of the parent counts here: see `Lease::exists`
  callers_ = 0;
  if (settings_.credentials) settings_.credentials->after_fork_in_child();
  settings_.topology->after_fork_in_child();
  background_.after_fork_in_child();
  connections_.after_fork_in_child();
  wait_queues_.after_fork_in_child();
}

}  // namespace redlatch::detail
