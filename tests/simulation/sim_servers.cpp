#include "sim_servers.hpp"

#include <algorithm>

namespace redlatch::test {
namespace {

/// Up to 0.9 % faster or slower than that of the clients.
double a_speed(World& world) {
  return 1 + (static_cast<double>(world.below(2001)) - 1000) / 1000 * 0.009;
}

}  // namespace

std::string_view to_string(SimFault fault) {
  constexpr std::array<std::string_view, static_cast<std::size_t>(SimFault::count)> names{
      "connection stalled",
      "connection cut",
      "server stopped",
      "server restarted",
      "server restarted empty",
      "scripts forgotten",
      "server loading",
      "server read-only",
      "server without memory",
      "client stopped",
      "client killed",
      "primary failed",
      "failover ordered",
      "sentinel away",
      "replica lagging",
      "takeover",
      "slot moved"};
  return names.at(static_cast<std::size_t>(fault));
}

SimServers::SimServers(World& world, std::size_t count, bool have_one_clock) : world_(world) {
  double speed = a_speed(world);
  for (std::size_t i = 0; i < count; ++i) {
    servers_.emplace_back(world, static_cast<std::uint16_t>(first_port + i), speed)
        .fake()
        .set_replicas(1);
    if (!have_one_clock) speed = a_speed(world);
  }
}

bool SimServers::is_well() const { return std::ranges::none_of(servers_, &SimServer::is_away); }

bool SimServers::stop(SimServer& server, SimTime time) {
  if (server.is_away) return false;
  server.is_away = true;
  server.stop();
  left(server);
  world_.at(world_.now() + time, [this, &server] {
    server.is_away = false;
    server.go_on();
    is_back(server, true);
  });
  return true;
}

bool SimServers::restart(SimServer& server, SimTime time, bool keeps_data) {
  if (server.is_away) return false;
  server.is_away = true;
  server.end();
  if (!keeps_data) forgot_.push_back(world_.now());
  left(server);
  world_.at(world_.now() + time, [this, &server, keeps_data] {
    server.is_away = false;
    server.start(keeps_data);
    is_back(server, keeps_data);
  });
  return true;
}

bool SimServers::change(SimServer& server, SimTime time, void (*set)(FakeServer&, bool)) {
  if (server.is_away) return false;
  server.is_away = true;
  set(server.fake(), true);
  world_.at(world_.now() + time, [&server, set] {
    set(server.fake(), false);
    server.is_away = false;
  });
  return true;
}

bool SimServers::have_at(SimServer& server, SimFault fault, SimTime time) {
  switch (fault) {
    case SimFault::server_stops:
      return stop(server, time);
    case SimFault::server_restarts:
      return restart(server, time, true);
    case SimFault::forgets:
      return world_.below(4) == 0 && restart(server, time, false);
    case SimFault::scripts_gone:
      server.fake().flush_scripts();
      return true;
    case SimFault::server_loads:
      return change(server, time, [](FakeServer& fake, bool is_so) { fake.set_loading(is_so); });
    case SimFault::server_is_replica:
      return change(server, time, [](FakeServer& fake, bool is_so) {
        using Role = FakeServer::Role;
        fake.set_role(is_so ? Role::replica : Role::primary);
      });
    case SimFault::server_is_full:
      return change(server, time,
                    [](FakeServer& fake, bool is_so) { fake.set_out_of_memory(is_so); });
    default:
      return false;
  }
}

std::vector<std::string> LoneServers::urls() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < servers_.size(); ++i) all.push_back("redis://" + address(i));
  return all;
}

bool LoneServers::have(SimFault fault, SimTime time) {
  if (fault == SimFault::forgets && servers_.size() > 1) return false;
  return have_at(any(), fault, time);
}

/// What a majority of several has is not looked at.
bool LoneServers::is_free(const std::string& key) const {
  return servers_.size() == 1 && !servers_.front().fake().exists(key);
}

}  // namespace redlatch::test
