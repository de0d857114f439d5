#include "scenario.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include <redlatch/detail/finally.hpp>
#include <redlatch/redlatch.hpp>

#include "claims.hpp"
#include "cluster_servers.hpp"
#include "sentinel_servers.hpp"
#include "sim_servers.hpp"
#include "world.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;

class Scenario {
 public:
  explicit Scenario(std::uint64_t seed) : world_(seed) {}

  ScenarioResult run() {
    auto& odds = world_.odds();
    odds.switches = std::array{0.0, 0.02, 0.1, 0.3}[world_.below(4)];
    odds.max_latency = std::array<SimTime, 3>{100us, 1ms, 20ms}[world_.below(3)];
    servers_ = some_servers();
    world_.run([&] { direct(); });
    for (Claim& one : claims_) servers_->note_losses(one, possessions_.at(one.token));
    const Findings found = findings_in(claims_, servers_->forgot());
    result_.lost = found.lost;
    result_.violations.insert(result_.violations.end(), found.violations.begin(),
                              found.violations.end());
    return std::move(result_);
  }

 private:
  static constexpr std::size_t max_processes = 12;

  struct Wait {
    int process;
    SimTime since;
  };
  bool has_quorum() const { return servers_->urls().size() > 1; }

  std::unique_ptr<SimServers> some_servers() {
    switch (world_.below(8)) {
      case 0:
        return std::make_unique<LoneServers>(world_, 5);
      case 1:
      case 2:
        return std::make_unique<SentinelServers>(world_);
      case 3:
      case 4:
        return std::make_unique<ClusterServers>(world_);
      default:
        return std::make_unique<LoneServers>(world_, 1);
    }
  }

  /// Process 0: starts the others, has faults happen, and looks at what is left.
  void direct() {
    const std::size_t clients = 2 + world_.below(3);
    for (std::size_t i = 0; i < clients; ++i) start_client();
    if (world_.below(4) == 0) listen_to_all();
    const SimTime end = world_.now() + world_.between(2s, 20s);
    const SimTime pause = std::array<SimTime, 4>{20ms, 200ms, 1s, 1h}[world_.below(4)];
    while (world_.now() < end) {
      world_.sleep(std::min(world_.between(1ms, 2 * pause), end - world_.now() + 1ms));
      if (world_.now() < end) have_fault();
    }
    heal();
    if (world_.below(4) == 0) expect_waiters_served();
    for (std::stop_source& one : stops_) one.request_stop();
    await_clients();
    expect_nothing_left();
  }

  /// A monitor, which takes each message as well.
  void listen_to_all() {
    for (SimServer& one : servers_->all()) {
      one.fake().receive(one.fake().connect(), "*2\r\n$10\r\nPSUBSCRIBE\r\n$1\r\n*\r\n");
    }
  }

  void start_client() {
    const int number = static_cast<int>(stops_.size());
    stops_.emplace_back();
    ClientOptions options{
        .connect_timeout = 1000ms,
        .command_timeout = pick<std::chrono::milliseconds>({60ms, 200ms, 500ms, 2s}),
        .connections = pick<std::size_t>({1, 2, 4}),
        .scripting = world_.below(8) > 0};
    const std::size_t threads = 1 + world_.below(4);
    clients_.push_back(world_.start_process([this, number, options, threads] {
      try {
        if (has_quorum()) {
          QuorumOptions of_quorum{.client = options};
          of_quorum.client.scripting = true;
          Quorum quorum(servers_->urls(), of_quorum);
          run_workers(threads, [&](std::size_t thread) { work(quorum, number, thread, true); });
        } else {
          Client client(servers_->urls().front(), options);
          run_workers(threads,
                      [&](std::size_t thread) { work(client, number, thread, options.scripting); });
        }
      } catch (const Error&) {
        ++result_.errors;  // it could not connect
      } catch (const std::exception& error) {
        violation(std::string("a client ends with ") + error.what());
      }
    }));
  }

  static void run_workers(std::size_t threads, const std::function<void(std::size_t)>& work) {
    std::deque<std::jthread> workers;
    for (std::size_t i = 0; i < threads; ++i) workers.emplace_back(work, i);
  }

  template <class T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + static_cast<std::ptrdiff_t>(world_.below(values.size())));
  }

  void violation(std::string text) {
    // For a debugger.
    static const bool stops = std::getenv("REDLATCH_SIMULATION_STOPS") != nullptr;
    if (stops) std::raise(SIGTRAP);
    result_.violations.push_back(std::move(text) + ", at " + seconds(world_.now()));
  }

  static std::string seconds(SimTime time) {
    return std::to_string(static_cast<double>(time.count()) / 1e9) + " s";
  }

  // Workers

  template <class Nodes>
  void work(Nodes& client, int process, std::size_t thread, bool has_scripts) {
    const std::stop_token stop = stops_[static_cast<std::size_t>(process)].get_token();
    while (!stop.stop_requested()) {
      try {
        use_one(client, process, thread, has_scripts, stop);
      } catch (const Error&) {
        ++result_.errors;
        world_.sleep(world_.between(1ms, 100ms));
      } catch (const std::exception& error) {
        violation(std::string("a call throws ") + error.what());
        return;
      }
      world_.sleep(world_.between(0ns, pick<SimTime>({1ms, 20ms, 500ms})));
    }
  }

  LockOptions options_for(bool has_scripts) {
    LockOptions options{.ttl = pick<std::chrono::milliseconds>({100ms, 300ms, 1s, 3s, 30s}),
                        .auto_renew = world_.below(4) > 0,
                        .fencing = has_scripts && world_.below(4) == 0,
                        .ride_out = world_.below(4) == 0};
    if (world_.below(8) == 0) options.max_hold = pick<std::chrono::milliseconds>({50ms, 2s});
    if (world_.below(8) == 0) options.label = "label";
    if (world_.below(8) == 0) options.durability = {.replicas = 1, .timeout = 100ms};
    return options;
  }

  void use_one(Quorum& quorum, int process, std::size_t thread, bool, const std::stop_token& stop) {
    LockOptions options = options_for(false);
    const std::string key = servers_->key("key", world_.below(2));
    Redlock lock(quorum, key, std::defer_lock, options);
    use(lock,
        {.name = "Redlock",
         .keys = {key},
         .process = process,
         .thread = thread,
         .ttl = options.ttl},
        stop);
  }

  /// Each class has keys of its own, on which it meets itself, and some meet others.
  void use_one(Client& client, int process, std::size_t thread, bool has_scripts,
               const std::stop_token& stop) {
    using Kind = Claim::Kind;
    const LockOptions options = options_for(has_scripts);
    Claim claim{.process = process, .thread = thread, .ttl = options.ttl};
    const std::size_t resource = world_.below(2);
    const auto key_of = [&](const char* kind) { return servers_->key(kind, resource); };
    const auto with = [&](auto lock, Kind kind, const char* name, std::vector<std::string> keys) {
      claim.kind = kind;
      claim.name = name;
      claim.keys = std::move(keys);
      use(lock, claim, stop);
    };
    const std::string key = key_of("key");
    const std::vector<std::string> both{servers_->key("key", 0), servers_->key("key", 1)};
    switch (world_.below(has_scripts ? 8 : 2)) {
      case 0:
      case 1:
        return with(Lock(client, key, std::defer_lock, options), Kind::exclusive, "Lock", {key});
      case 2:
        return with(FairLock(client, key, std::defer_lock, options), Kind::exclusive, "FairLock",
                    {key});
      case 3:
        return with(MultiLock(client, both, std::defer_lock, options), Kind::exclusive, "MultiLock",
                    both);
      case 4:
        return with(ReadLock(client, key_of("shared"), std::defer_lock, options), Kind::shared,
                    "ReadLock", {key_of("shared")});
      case 5:
        return with(WriteLock(client, key_of("shared"), std::defer_lock, options), Kind::exclusive,
                    "WriteLock", {key_of("shared")});
      case 6:
        claim.limit = 2;
        return with(
            Permit(client, servers_->key("permits", 0), claim.limit, std::defer_lock, options),
            Kind::permit, "Permit", {servers_->key("permits", 0)});
      default:
        return with(RecursiveLock(client, key_of("recursive"), std::defer_lock, options),
                    Kind::recursive, "RecursiveLock", {key_of("recursive")});
    }
  }

  bool acquire(BasicLock& lock, const Claim& claim, const std::stop_token& stop) {
    ++result_.attempts;
    if (world_.below(4) == 0) return lock.try_lock();
    std::list<Wait>& waiting = waiting_[claim.keys];
    const auto self = waiting.insert(waiting.end(), {claim.process, world_.now()});
    const detail::Finally ends([&] { waiting.erase(self); });
    if (world_.below(3) > 0) return lock.lock(stop);
    return lock.try_lock_for(std::chrono::milliseconds(world_.below(2000)), stop);
  }

  void use(BasicLock& lock, Claim claim, const std::stop_token& stop) {
    const SimTime asked = world_.now();
    if (!acquire(lock, claim, stop)) return;
    ++result_.acquired;
    claim.from = claim.until = world_.now();
    claim.token = lock.token();
    // A lease that was handed over by another thread was granted to that one.
    const int process = clients_[static_cast<std::size_t>(claim.process)];
    const Possession possession{.process = process,
                                .granted = std::max(asked, claim.from - claim.ttl),
                                .since = claim.from,
                                .resumed = resumed_[process]};
    claim.granted = possessions_.try_emplace(claim.token, possession).first->second.granted;
    try {
      if (lock.owns_lock()) claim.fence = lock.fencing_token();
    } catch (const std::exception&) {
      // It has none.
    }
    if (!lock.owns_lock()) {
      lock.unlock();
      return;
    }
    claims_.push_back(claim);
    const std::size_t place = claims_.size() - 1;
    const SimTime end = world_.now() + world_.between(0ns, pick<SimTime>({1ms, 50ms, 1s, 4s}));
    while (world_.now() < end && !stop.stop_requested()) {
      world_.sleep(std::min(world_.between(10us, 30ms), end - world_.now()));
      if (!look(lock, place)) break;
      if (world_.below(20) == 0) change(lock);
      if (!look(lock, place)) break;
    }
    if (world_.below(2) == 0) lock.unlock();  // or by its destructor
  }

  bool look(const BasicLock& lock, std::size_t place) {
    if (!lock.owns_lock()) return false;
    claims_[place].until = world_.now();
    mix(place);
    return true;
  }

  void change(BasicLock& lock) {
    try {
      if (world_.below(3) == 0) {
        static_cast<void>(lock.verify());
      } else {
        static_cast<void>(lock.extend(pick<std::chrono::milliseconds>({100ms, 1s, 10s, 60s})));
      }
    } catch (const Error&) {
      ++result_.errors;
    }
  }

  // Faults

  void have_fault() {
    const auto fault =
        static_cast<SimFault>(world_.below(static_cast<std::size_t>(SimFault::count)));
    if (!have(fault)) return;
    ++result_.faults[static_cast<std::size_t>(fault)];
    mix(static_cast<std::uint64_t>(fault));
  }

  bool have(SimFault fault) {
    const SimTime time = world_.between(1ms, pick<SimTime>({30ms, 500ms, 3s}));
    switch (fault) {
      case SimFault::stall: {
        if (world_.connections() == 0) return false;
        using Direction = World::Direction;
        world_.stall(world_.below(world_.connections()),
                     pick({Direction::to_server, Direction::to_client, Direction::both}), time);
        return true;
      }
      case SimFault::cut:
        if (world_.connections() == 0) return false;
        world_.cut(world_.below(world_.connections()), pick<SimTime>({0ns, time}));
        return true;
      case SimFault::client_stops: {
        const int process = clients_[world_.below(clients_.size())];
        if (!world_.is_alive(process) || !world_.freeze(process)) return false;
        world_.at(world_.now() + time, [this, process] { resume(process); });
        return true;
      }
      case SimFault::client_dies: {
        if (clients_.size() == max_processes) return false;
        const int process = clients_[world_.below(clients_.size())];
        if (!world_.is_alive(process) || !world_.kill(process)) return false;
        start_client();
        return true;
      }
      default:
        return servers_->have(fault, time);
    }
  }

  void resume(int process) {
    world_.resume(process);
    resumed_[process] = world_.now();
  }

  // The end

  void heal() {
    while (!servers_->is_well()) world_.sleep(10ms);
    for (const int process : clients_) resume(process);
  }

  /// A free lock is not waited for.
  void expect_waiters_served() {
    constexpr SimTime look = 100ms;
    constexpr SimTime bound = 4s;
    const SimTime end = world_.now() + 10s;
    std::map<std::vector<std::string>, SimTime> free;  // and waited for, for how long
    for (; world_.now() < end; world_.sleep(look)) {
      for (auto& [keys, waiting] : waiting_) {
        const bool is_waited_for = std::ranges::any_of(waiting, [&](const Wait& one) {
          return one.since < world_.now() - bound &&
                 world_.is_alive(clients_[static_cast<std::size_t>(one.process)]);
        });
        const bool is_free =
            is_waited_for && std::ranges::all_of(keys, [&](const std::string& key) {
              return servers_->is_free(key);
            });
        SimTime& time = free[keys];
        time = is_free ? time + look : 0ns;
        if (time < bound) continue;
        std::string text = "free, and waited for since four seconds: " + keys.front() + ", by";
        for (const Wait& one : waiting) {
          text += " process " + std::to_string(one.process) + " since " + seconds(one.since);
        }
        violation(text);
        return;
      }
    }
  }

  void await_clients() {
    const SimTime latest = world_.now() + 120s;
    for (const int process : clients_) {
      while (world_.is_alive(process) && world_.threads_of(process) > 0) {
        if (world_.now() >= latest) {
          violation("a client does not end, two minutes after all faults");
          return;
        }
        world_.sleep(50ms);
      }
    }
  }

  /// All ttls are over then.
  void expect_nothing_left() {
    world_.sleep(200s);
    for (const SimServer& server : servers_->all()) {
      for (const auto& key : server.fake().keys()) {
        if (key.name.find("fence") == std::string::npos) violation("left at a server: " + key.name);
      }
    }
  }

  void mix(std::uint64_t number) {
    result_.fingerprint =
        (result_.fingerprint ^ number ^ static_cast<std::uint64_t>(world_.now().count())) *
        0x9E3779B97F4A7C15;
  }

  World world_;
  std::unique_ptr<SimServers> servers_{};
  std::deque<std::stop_source> stops_{};
  std::vector<int> clients_{};
  std::map<std::vector<std::string>, std::list<Wait>> waiting_{};  // by their keys
  std::vector<Claim> claims_{};
  std::map<std::string, Possession> possessions_{};  // by token
  std::map<int, SimTime> resumed_{};                 // by process
  ScenarioResult result_{};
};

}  // namespace

ScenarioResult run_scenario(std::uint64_t seed) { return Scenario(seed).run(); }

}  // namespace redlatch::test
