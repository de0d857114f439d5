#include "nemesis.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <ranges>
#include <string>
#include <thread>
#include <utility>

#include "lock_worker.hpp"

namespace redlatch::test {
namespace {

using namespace std::chrono_literals;
using Clock = HistoryClock;

/// Clients connect again after pauses of up to a second, and subscribe again after as long.
constexpr auto recovery = 2s;

bool is_of_worker(Fault fault) {
  return fault == Fault::worker_stopped || fault == Fault::worker_killed;
}
bool is_of_connections(Fault fault) {
  return fault == Fault::connections_cut || fault == Fault::replies_held ||
         fault == Fault::requests_late;
}

template <class T, std::size_t count>
T any_of(const std::array<T, count>& values, std::mt19937& random) {
  return values[random() % count];
}

}  // namespace

Nemesis::Nemesis(Targets targets, std::span<const Fault> faults, std::uint64_t seed, bool monitored)
    : targets_(targets),
      faults_(faults),
      random_(static_cast<unsigned>(seed)),
      monitored_(monitored && targets.servers != nullptr),
      max_pause_(any_of(std::array<Milliseconds, 3>{20ms, 200ms, 1500ms}, random_)) {
  if (monitored_) targets_.servers->listen_to_all();
  if (targets_.stage != nullptr) failovers_.emplace(*targets_.stage);
}

void Nemesis::torment(Moment end) {
  for (;;) {
    std::this_thread::sleep_for(
        std::min<Clock::duration>(random_time(max_pause_), end - Clock::now()));
    if (Clock::now() >= end) return;
    have(draw());
  }
}

void Nemesis::note_unordered() {
  if (!failovers_) return;
  failovers_->look();
  const auto& unordered = failovers_->unordered();
  if (unordered.empty()) return;
  incidents_.insert(incidents_.end(), unordered.begin(), unordered.end());
  counts_[Fault::unordered].landed = unordered.size();
}

bool Nemesis::is_failover(Fault fault) const {
  return targets_.stage != nullptr && std::ranges::count(targets_.stage->faults(), fault) > 0;
}

/// A failover comes last, and beside it only what is done to workers and connections: other faults
/// need a server that is not about to be replaced.
std::vector<Fault> Nemesis::draw() {
  const auto any = [&] { return faults_[random_() % faults_.size()]; };
  Fault first = any();
  Fault second = any();
  if (random_() % 2 == 0 || second == first) return {first};
  if (is_failover(first)) std::swap(first, second);
  if (!is_failover(second)) return {first, second};
  const bool spares_servers = is_of_worker(first) || is_of_connections(first);
  return spares_servers ? std::vector{first, second} : std::vector{second};
}

Nemesis::Milliseconds Nemesis::random_time(Milliseconds most) {
  return Milliseconds(random_() % static_cast<unsigned>(most.count()));
}

/// The one that has begun last ends first.
void Nemesis::have(const std::vector<Fault>& faults) {
  if (failovers_) failovers_->look();
  const Milliseconds time =
      random_time(any_of(std::array<Milliseconds, 4>{20ms, 100ms, 500ms, 2000ms}, random_));
  std::vector<Trouble> going_on;
  for (const Fault fault : faults) {
    if (std::optional<Trouble> trouble = try_to_begin(fault, time)) {
      going_on.push_back(*std::move(trouble));
    }
  }
  std::this_thread::sleep_for(time);
  std::vector<Fault> landed;
  for (Trouble& trouble : std::views::reverse(going_on)) {
    if (finish(trouble)) landed.push_back(trouble.incident.fault);
  }
  if (landed.size() > 1) {
    for (const Fault fault : landed) ++counts_[fault].in_pairs;
  }
  if (monitored_) targets_.servers->listen_to_all();
}

/// One that fails may have had its effect all the same.
std::optional<Trouble> Nemesis::try_to_begin(Fault fault, Milliseconds time) {
  const Moment began = Clock::now();
  try {
    return begin(fault, time);
  } catch (const std::exception&) {
    return Trouble{.incident = {.fault = fault, .began = began, .lossy_until = Clock::now()},
                   .end = [] { return false; }};
  }
}

std::optional<Trouble> Nemesis::begin(Fault fault, Milliseconds time) {
  if (fault == Fault::worker_stopped) {
    return targets_.workers->stop(random_() % targets_.workers->size());
  }
  if (fault == Fault::worker_killed) {
    return targets_.workers->kill(random_() % targets_.workers->size());
  }
  if (is_failover(fault)) {
    const auto [incident, landed] = failovers_->order(fault, random_);
    return Trouble{.incident = incident, .end = [landed] { return landed; }};
  }
  if (!is_of_connections(fault)) return begin_at_server(fault, time);
  const std::size_t server =
      targets_.stage != nullptr ? targets_.stage->primary() : random_() % targets_.servers->size();
  return targets_.links->begin(fault, random_() % targets_.workers->size(), server);
}

std::optional<Trouble> Nemesis::begin_at_server(Fault fault, Milliseconds time) {
  std::string socket;
  if (targets_.stage != nullptr) {
    socket = targets_.stage->servers().at(targets_.stage->primary()).socket;
  } else {
    const std::size_t server = random_() % targets_.servers->size();
    if (!targets_.servers->runs(server)) return std::nullopt;
    if (auto trouble = targets_.servers->begin(fault, server)) return trouble;
    socket = targets_.servers->socket(server);
  }
  const std::size_t key = random_() % targets_.keys;
  std::optional<Trouble> trouble = command_trouble(fault, socket, key_of(key), time);
  if (trouble && fault == Fault::key_deleted) trouble->incident.resource = key;
  return trouble;
}

bool Nemesis::finish(Trouble& trouble) {
  Incident& incident = trouble.incident;
  FaultCount& count = counts_[incident.fault];
  ++count.tried;
  bool landed = false;
  try {
    landed = trouble.end();
  } catch (const std::exception&) {
    // The server was killed meanwhile, and has none of it any more.
  }
  if (landed) ++count.landed;
  const Moment served = Clock::now() + recovery;
  incident.served = std::max(incident.served, served);
  incident.healthy = std::max(incident.healthy, served);
  incidents_.push_back(incident);
  return landed;
}

}  // namespace redlatch::test
