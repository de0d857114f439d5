#include "torture_stage.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "cluster_stage.hpp"
#include "command_stream.hpp"
#include "eventually.hpp"
#include "lock_worker.hpp"
#include "pulse.hpp"
#include "raw_client.hpp"
#include "run.hpp"
#include "workers.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = HistoryClock;

constexpr std::array<std::string_view, 5> stage_names{"one-server", "tls", "sentinel", "cluster",
                                                      "redlock"};
constexpr std::size_t places = 3;
/// Behind the last fault: until all has recovered, the longest usual ttl and hold, and patience.
constexpr auto quiet = 6s;
/// A release that nothing hinders is over by then.
constexpr auto tidy = 3s;

constexpr std::array of_workers{Fault::worker_stopped, Fault::worker_killed};
constexpr std::array of_connections{Fault::connections_cut, Fault::replies_held,
                                    Fault::requests_late};
constexpr std::array of_any_server{Fault::clients_killed,  Fault::server_paused,
                                   Fault::scripts_flushed, Fault::key_deleted,
                                   Fault::all_flushed,     Fault::server_full};
constexpr std::array of_own_servers{Fault::server_stopped,   Fault::server_restarted,
                                    Fault::server_asleep,    Fault::server_busy,
                                    Fault::server_read_only, Fault::server_restarted_empty};

}  // namespace

std::span<const std::string_view> TortureStage::names() noexcept { return stage_names; }

TortureStage::TortureStage(std::string_view name) {
  if (name == "one-server" || name == "tls") {
    use_servers(1, name == "tls");
    add_roles(true);
  } else if (name == "redlock") {
    is_quorum_ = true;
    use_servers(5, false);
    add_redlocks();
  } else if (name == "sentinel") {
    use_stage(std::make_unique<SentinelStage>(TrioOptions{.down_after = 1500ms}), Stage::replicas);
    add_roles(false);
  } else if (name == "cluster") {
    use_stage(std::make_unique<ClusterStage>(
                  key_of(0), ClusterOptions{.replicas = Stage::replicas, .node_timeout = 2s}),
              Stage::replicas);
    add_roles(false);
  } else {
    throw std::invalid_argument("there is no stage " + std::string(name));
  }
}

void TortureStage::use_servers(std::size_t count, bool tls) {
  tls_ = tls;
  servers_ = std::make_unique<Servers>(count, tls);
  targets_ = servers_->targets();
  add_faults(of_own_servers);
}

void TortureStage::use_stage(std::unique_ptr<Stage> stage, int replicas) {
  stage_ = std::move(stage);
  replicas_ = replicas;
  for (const Stage::Server& server : stage_->servers()) targets_.push_back(server.socket);
  add_faults(stage_->faults());
}

void TortureStage::add_faults(std::span<const Fault> own) {
  faults_.assign(of_workers.begin(), of_workers.end());
  faults_.insert(faults_.end(), of_connections.begin(), of_connections.end());
  faults_.insert(faults_.end(), of_any_server.begin(), of_any_server.end());
  faults_.insert(faults_.end(), own.begin(), own.end());
}

Role& TortureStage::add(const char* name, LockKind kind, std::size_t resource) {
  roles_.push_back({.name = name,
                    .kind = kind,
                    .resource = resource,
                    .ttl = 1s,
                    .max_hold = 500ms,
                    .replicas = std::min(replicas_, 1),
                    .varies = true});
  return roles_.back();
}

/// Every pair of classes that can share a key does so; on one of them, classes of different forms
/// refuse each other. What arrives late finds the last ones still held.
void TortureStage::add_roles(bool has_databases) {
  constexpr int all = 1000;  // readers
  keys_ = 7;
  capacities_ = {1, 1, 1, all, 2, 1, all};
  add("Lock", LockKind::lock, 0).fences = true;
  roles_.back().threads = 2;
  add("FairLock", LockKind::fair, 0).fences = true;
  Role& multi = add("MultiLock", LockKind::multi, 0);
  multi.resources = 2;
  multi.fences = multi.may_starve = true;
  add("Lock", LockKind::lock, 1).fences = true;
  add("FairLock", LockKind::fair, 1);
  add("Lock", LockKind::lock, 2).threads = 3;
  add("ReadLock", LockKind::read, 3).threads = 2;
  Role& writer = add("WriteLock", LockKind::write, 3);
  writer.units = all;
  writer.fences = true;
  add("Permit", LockKind::permit, 4).threads = 3;
  Role& recursive = add("RecursiveLock", LockKind::recursive, 5);
  recursive.threads = 2;
  recursive.may_starve = true;
  Role& named = add("RecursiveLock, named", LockKind::recursive, 5);
  named.owner = "torture";
  named.may_starve = true;
  for (const auto& [name, kind] : {std::pair("Lock, of three classes", LockKind::lock),
                                   std::pair("WriteLock, of three classes", LockKind::write),
                                   std::pair("RecursiveLock, of three", LockKind::recursive)}) {
    Role& one = add(name, kind, 6);
    one.units = all;
    one.may_starve = true;
    one.max_pause = 200ms;  // most attempts are refused
  }
  for (; keys_ < 10; ++keys_) {
    capacities_.push_back(1);
    add("Lock, held for long", LockKind::lock, keys_).max_hold = 3s;
  }
  if (!has_databases) return;
  capacities_.push_back(1);
  for (const auto& [name, kind] : {std::pair("Lock, database 1", LockKind::lock),
                                   std::pair("FairLock, database 1", LockKind::fair)}) {
    Role& one = add(name, kind, keys_);
    one.key = 0;
    one.database = 1;
  }
}

void TortureStage::add_redlocks() {
  keys_ = 5;
  capacities_.assign(keys_, 1);
  for (std::size_t resource = 0; resource < keys_; ++resource) {
    Role& one = add("Redlock", LockKind::redlock, resource);
    one.threads = 2;
    one.may_starve = true;
  }
}

/// Of the servers whose keys count.
std::vector<std::string> TortureStage::sockets() {
  std::vector<std::string> all;
  for (std::size_t i = 0; servers_ && i < servers_->size(); ++i) {
    all.push_back(servers_->socket(i));
  }
  if (!stage_) return all;
  std::optional<std::size_t> primary;
  eventually([&] {
    primary = answered([&] { return std::optional(stage_->primary()); });
    return primary.has_value();
  });
  if (!primary) throw std::runtime_error("there is no primary behind the faults");
  return {targets_.at(*primary)};
}

/// One round of a stage.
class TortureStage::Round {
 public:
  Round(TortureStage& stage, std::uint64_t seed) : stage_(stage), seed_(seed), random_(seed) {
    for (const std::string& socket : stage.sockets()) RawClient(socket).command({"FLUSHALL"});
    if (stage.servers_ && stage.servers_->size() == 1 && random_() % 2 == 0) {
      stream_.emplace(stage.servers_->socket(0));
    }
  }

  RoundResult run(std::span<const Fault> faults, std::chrono::milliseconds time) {
    Pulse pulse;
    Workers workers(places, [&](std::size_t place, std::uint16_t number) {
      work(options_of(place, number), stage_.roles_, history_);
    });
    Nemesis nemesis({.workers = &workers,
                     .links = &links_,
                     .servers = stage_.servers_.get(),
                     .stage = stage_.stage_.get(),
                     .keys = stage_.keys_},
                    faults, random_(), random_() % 4 == 0);
    nemesis.torment(Clock::now() + time);
    std::this_thread::sleep_for(quiet);
    nemesis.note_unordered();
    const Moment end = Clock::now();
    history_.shared().over = true;
    RoundResult result{.faults = nemesis.counts(), .crashes = workers.end()};
    if (history_.is_full()) result.crashes.emplace_back("there is no room for more history");
    if (stream_) stream_->end();
    const std::vector<Leftover> leftovers = find_leftovers();
    pulse.end();
    const std::vector<Incident> incidents = with_busy_times(nemesis.incidents(), pulse.incidents());
    result.stalls = pulse.incidents().size();
    judge({.roles = stage_.roles_,
           .capacities = stage_.capacities_,
           .replicas = stage_.replicas_,
           .attempts = history_.attempts(),
           .incidents = incidents,
           .leftovers = leftovers,
           .end = end},
          result);
    if (stream_) judge(*stream_, result);
    return result;
  }

 private:
  using Delays = std::array<std::chrono::milliseconds, places>;
  /// One worker is always far away: what it counts on must not begin with an answer.
  Delays draw_delays() {
    constexpr std::array<std::chrono::milliseconds, 4> all{0ms, 0ms, 2ms, 20ms};
    Delays delays{};
    for (auto& one : delays) one = all[random_() % all.size()];
    delays.at(random_() % places) = all.back();
    return delays;
  }

  WorkerOptions options_of(std::size_t place, std::uint16_t number) {
    std::mt19937 random(static_cast<unsigned>(seed_ + 1000 * number));
    const auto one_of = [&](std::initializer_list<int> values) {
      return values.begin()[random() % values.size()];
    };
    WorkerOptions options{.number = number,
                          .seed = static_cast<unsigned>(random()),
                          .round_trip = 2 * delays_[place]};
    ClientOptions& client = options.client.client;
    client.client_name = name_of_workers;
    client.command_timeout = std::chrono::milliseconds(one_of({100, 300, 500}));
    client.connections = static_cast<std::size_t>(one_of({1, 2, 4}));
    options.client.server_timeout = std::chrono::milliseconds(one_of({50, 200}));
    if (stage_.is_quorum_) {
      options.quorum = links_.urls(place);
      return options;
    }
    client.scripting = random() % 8 > 0;
    if (stage_.servers_) {
      options.url = links_.urls(place).front();
      options.second_url = options.url + "/1";
    } else {
      options.url = stage_.stage_->url();
      client.map_address = [this, place](const Address& address) { return map(address, place); };
    }
    return options;
  }
  /// To a proxy.
  Address map(const Address& address, std::size_t place) const {
    const std::vector<Stage::Server> servers = stage_.stage_->servers();
    const auto server = std::ranges::find(servers, address.port, &Stage::Server::port);
    if (server == servers.end()) return address;
    const auto number = static_cast<std::size_t>(server - servers.begin());
    return {"127.0.0.1", links_.ports(place)[number]};
  }

  /// Keys that are there for longer than a release takes. Fencing counters last for a day.
  std::vector<Leftover> find_leftovers() {
    std::vector<Leftover> found;
    const auto look = [&] {
      found.clear();
      for (const std::string& socket : stage_.sockets()) add_leftovers(socket, found);
      return found.empty();
    };
    eventually(look, tidy);
    return found;
  }
  void add_leftovers(const std::string& socket, std::vector<Leftover>& found) {
    RawClient client(socket);
    for (int database = 0; database < (stage_.servers_ ? 2 : 1); ++database) {
      if (database > 0) client.command({"SELECT", std::to_string(database)});
      for (const RawReply& key : client.command({"KEYS", "{locks}:*"}).elements) {
        const std::optional<std::size_t> resource = resource_of(key.text, database);
        if (!resource || key.text.ends_with(":redlatch:fence")) continue;
        const std::int64_t ttl = client.pttl(key.text);
        constexpr std::int64_t gone = -2;
        if (ttl == gone) continue;
        found.push_back({key.text, *resource, Clock::now(), std::chrono::milliseconds(ttl)});
      }
    }
  }
  std::optional<std::size_t> resource_of(std::string_view key, int database) const {
    for (const Role& role : stage_.roles_) {
      for (std::size_t i = 0; role.database == database && i < role.resources; ++i) {
        const std::string its_key = key_of(role.key + i);
        if (key == its_key || key.starts_with(its_key + ":")) return role.resource + i;
      }
    }
    return std::nullopt;
  }

  static void judge(const Run& run, RoundResult& result) {
    result.findings = check(run);
    const RunView view(run);
    result.operations = view.attempts().size();
    std::set<std::size_t> used;
    for (const Attempt* one : view.attempts()) {
      if (RunView::was_held(*one)) used.insert(view.role_of(*one).resource);
    }
    result.histories = used.size();
    constexpr std::size_t most = 3;
    const std::span all = result.findings.violations;
    for (const Violation& one : all.first(std::min(most, all.size()))) {
      result.report += std::string(to_string(one.promise)) + ": " + one.text + '\n' +
                       view.window(one.resource, one.from, one.to);
    }
  }

  static void judge(const CommandStream& stream, RoundResult& result) {
    result.seen_in_stream = stream.checked();
    for (const std::string& one : stream.violations()) {
      result.findings.violations.push_back({.promise = Promise::own_keys, .text = one});
      result.report += one + '\n';
    }
  }

  TortureStage& stage_;
  std::uint64_t seed_;
  std::mt19937_64 random_;
  History history_{};
  Delays delays_ = draw_delays();
  Links links_{delays_, stage_.targets_, stage_.tls_};
  std::optional<CommandStream> stream_{};
};

/// In half of the rounds servers keep what they have, so that nothing is excused or cleared by a
/// loss.
RoundResult TortureStage::run(std::uint64_t seed, std::span<const Fault> faults,
                              std::chrono::milliseconds time) {
  std::vector<Fault> drawn(faults.begin(), faults.end());
  if (seed % 2 == 0) {
    std::erase_if(drawn, [](Fault one) { return kind_of(one).loss == Loss::everything; });
  }
  if (drawn.empty()) drawn.assign(faults.begin(), faults.end());
  return Round(*this, seed).run(drawn, time);
}

}  // namespace redlatch::test
