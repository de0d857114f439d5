#include "client/client_core.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/protocol/shared.hpp>

#include "base/printable.hpp"
#include "client/require.hpp"
#include "net/credential_source.hpp"
#include "net/resolver.hpp"
#include "net/sentinel_topology.hpp"
#include "net/tls_transport.hpp"

namespace redlatch::detail {
namespace {

/// For how long the release of a lock is retried that was granted to a waiter which has left.
constexpr std::chrono::minutes max_grant{1};

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
  std::shared_ptr<Topology> topology;
  if (endpoint.sentinels.empty()) {
    topology = std::make_shared<Resolver>(endpoint, tls);
  } else {
    topology = std::make_shared<SentinelTopology>(endpoint, options, tls);
  }
  auto routes = std::make_shared<Routes>(options.connections);
  auto credentials = options.credentials ? std::make_shared<CredentialSource>(options.credentials)
                                         : std::shared_ptr<CredentialSource>();
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
      wait_queues_(settings_,
                   [this](Lease& lease, const RenewalSchedule& schedule) {
                     return background_.hand_over(lease, schedule);
                   },
                   {.give_back =
                        [this](std::string_view key, std::string_view value) {
                          post(key, {protocol::give_back(key, value), max_grant});
                        },
                    .look_later = [this] { background_.expect_answers(); },
                    .record_event =
                        [this](const EventRecord& record) { background_.record_event(record); }}),
      background_(settings_) {
  std::vector<SharedConnection*> connections;
  for (std::size_t i = 0; i < 2 * settings_.options.connections; ++i) {
    connections_.push_back(std::make_unique<SharedConnection>(settings_, background_));
    connections.push_back(connections_.back().get());
  }
  background_.serve(
      std::move(connections),
      [this](std::string_view key) -> SharedConnection& { return connection_of(key); },
      wait_queues_);
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
  if (acquires && (several_owed() || Keys::are_several(request.commands.front()))) {
    // Where a connection is silent, the other half of the time is left for the acquisition.
    await_releases(request, end - settings_.options.command_timeout / 2);
  }
  connection(Routes::connection(pin), request.blocks > std::chrono::milliseconds::zero())
      .execute(request, responses.front(), policy, end);
  if (acquires && responses.front().failure) note_owed(*request.cleanup);
  background_.ensure_started();
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
  for (std::size_t i = 0; i < settings_.options.connections; ++i) {
    SharedConnection& connection = *connections_[i];
    Multiplexer::Owed owed = connection.owed(keys);
    for (int asked = 0; owed.release && &connection != own && asked < 2; ++asked) {
      Response ignored;
      connection.execute({.key = request.key, .commands = {&question, 1}}, ignored,
                         ConnectPolicy::never, end);
      owed = connection.owed(keys);
    }
    any_several |= owed.several;
  }
  if (any_several) return;
  std::uint64_t settled = several_settled_;
  while (settled < posted && !several_settled_.compare_exchange_weak(settled, posted)) {
  }
}

/// A release goes out now if that needs no wait, and by the background thread if not, so that the
/// end of a scope waits for a server only where the server takes releases by WATCH alone.
void ClientCore::post(std::string_view key, const CleanupRelease& cleanup) noexcept {
  const RoutePin pin = settings_.routes->pin(key);
  switch (connection(Routes::connection(pin), false).post(key, cleanup)) {
    case SharedConnection::PostResult::yes:
      return note_owed(cleanup);
    case SharedConnection::PostResult::no_memory:  // the lease ends with its ttl
      return;
    case SharedConnection::PostResult::no_connection:
    case SharedConnection::PostResult::late:
      return background_.add(key, cleanup);
    case SharedConnection::PostResult::needs_exclusive_use:
      // The last owner of a client ends it next, and the end sends open releases by itself.
      if (weak_from_this().use_count() > 1) return background_.send_release(key, cleanup);
      return background_.add(key, cleanup);
  }
}

SharedConnection& ClientCore::connection(std::size_t index, bool apart) noexcept {
  assert(index < settings_.options.connections);
  return *connections_[apart ? settings_.options.connections + index : index];
}

/// With as many calls as connections or more, the calls on one connection go out in batches, and
/// the larger the batches, the less a call costs: keys then keep the connection of their hash
/// instead of moving to idle ones.
RoutePin ClientCore::route(std::string_view key) noexcept {
  if (callers_ >= settings_.options.connections) return settings_.routes->return_and_pin(key);
  return settings_.routes->move_and_pin(
      key, [this](std::size_t connection) { return connections_[connection]->busy(); });
}

/// In the order in which these mutexes are taken under each other. Each member then is whole in the
/// child, whatever the threads of the parent were doing.
void ClientCore::before_fork() {
  wait_queues_.before_fork();
  for (const auto& connection : connections_) connection->before_fork();
  background_.before_fork();
  settings_.topology->before_fork();
  if (settings_.credentials) settings_.credentials->before_fork();
  if (settings_.tls) settings_.tls->before_fork();
}

void ClientCore::after_fork_in_parent() {
  if (settings_.tls) settings_.tls->after_fork();
  if (settings_.credentials) settings_.credentials->after_fork_in_parent();
  settings_.topology->after_fork_in_parent();
  background_.after_fork_in_parent();
  for (const auto& connection : connections_) connection->after_fork_in_parent();
  wait_queues_.after_fork_in_parent();
}

void ClientCore::after_fork_in_child() noexcept {
  ++process_;  // so no lease of the parent counts here: see `Lease::exists`
  callers_ = 0;
  if (settings_.tls) settings_.tls->after_fork();
  if (settings_.credentials) settings_.credentials->after_fork_in_child();
  settings_.topology->after_fork_in_child();
  background_.after_fork_in_child();
  for (const auto& connection : connections_) connection->after_fork_in_child();
  wait_queues_.after_fork_in_child();
}

}  // namespace redlatch::detail
