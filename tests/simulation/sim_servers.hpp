#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "claims.hpp"
#include "sim_server.hpp"
#include "world.hpp"

namespace redlatch::test {

/// What goes wrong in a scenario.
enum class SimFault : std::size_t {
  stall,         // of a connection, in one direction or both; what was sent arrives late
  cut,           // of a connection
  server_stops,  // for a while, with its connections
  server_restarts,
  forgets,  // a restart without data
  scripts_gone,
  server_loads,
  server_is_replica,  // and writes nothing
  server_is_full,
  client_stops,
  client_dies,
  primary_fails,       // for long enough that a replica replaces it
  failover_is_wanted,  // by an administrator, while the primary is well
  sentinel_is_away,
  replica_lags,  // what is written reaches it late
  takeover,      // a replica replaces its primary without asking
  slot_moves,
  count
};
std::string_view to_string(SimFault fault);

/// When a client has had a lock.
struct Possession {
  int process = 0;    // of the world
  SimTime granted{};  // by the server, at the earliest
  SimTime since{};    // it has known that
  SimTime resumed{};  // the last time that it was stopped before; zero: never
};

/// The servers of a scenario, and what goes wrong with them.
class SimServers {
 public:
  SimServers(World& world, std::size_t count, bool have_one_clock);
  SimServers(const SimServers&) = delete;
  SimServers& operator=(const SimServers&) = delete;
  virtual ~SimServers() = default;

  /// Several: those of a quorum.
  virtual std::vector<std::string> urls() const = 0;
  /// The name of a key. Those of one kind may be locked together.
  virtual std::string key(const std::string& kind, std::size_t number) const {
    return kind + std::to_string(number);
  }
  /// False: it cannot be now, or not here.
  virtual bool have(SimFault fault, SimTime time) = 0;
  /// Whether all faults are over, and what follows from them.
  virtual bool is_well() const;
  /// Whether an attempt would find the key free.
  virtual bool is_free(const std::string& key) const = 0;
  /// Adds what failovers have lost to a claim.
  virtual void note_losses(Claim& /*claim*/, const Possession& /*of*/) const {}

  std::deque<SimServer>& all() noexcept { return servers_; }
  /// When a server has lost its data.
  const std::vector<SimTime>& forgot() const noexcept { return forgot_; }

 protected:
  static constexpr std::uint16_t first_port = 6379;
  /// A thread needs some time for what its process has been told.
  static constexpr SimTime time_to_hear = std::chrono::milliseconds(20);

  template <class T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + static_cast<std::ptrdiff_t>(world_.below(values.size())));
  }
  SimServer& any() { return servers_[world_.below(servers_.size())]; }
  std::string address(std::size_t server) const {
    return "127.0.0.1:" + std::to_string(servers_[server].port());
  }
  bool stop(SimServer& server, SimTime time);
  bool restart(SimServer& server, SimTime time, bool keeps_data);
  bool change(SimServer& server, SimTime time, void (*set)(FakeServer&, bool));
  /// Of `server_stops` to `server_is_full`.
  bool have_at(SimServer& server, SimFault fault, SimTime time);
  /// The server is stopped or has ended; it runs again.
  virtual void left(SimServer& /*server*/) {}
  virtual void is_back(SimServer& /*server*/, bool /*has_data*/) {}

  World& world_;
  std::deque<SimServer> servers_{};
  std::vector<SimTime> forgot_{};
};

/// One server, or five, of which a quorum has a majority.
class LoneServers final : public SimServers {
 public:
  LoneServers(World& world, std::size_t count) : SimServers(world, count, false) {}

  std::vector<std::string> urls() const override;
  bool have(SimFault fault, SimTime time) override;
  bool is_free(const std::string& key) const override;
};

}  // namespace redlatch::test
