#include "incident.hpp"

#include <algorithm>
#include <array>

namespace redlatch::test {
namespace {

constexpr std::array kinds{
    FaultKind{Fault::kill, "primary-killed", "primary killed", Loss::recent_at_no_replica},
    FaultKind{Fault::stop, "primary-stopped", "primary stopped, continued",
              Loss::recent_at_no_replica},
    FaultKind{Fault::failover, "sentinel-failover", "SENTINEL FAILOVER",
              Loss::recent_at_some_replicas},
    FaultKind{Fault::name, "name-moved", "name moved", Loss::recent_at_some_replicas},
    FaultKind{Fault::planned, "cluster-failover", "CLUSTER FAILOVER", Loss::none},
    FaultKind{Fault::takeover, "takeover", "TAKEOVER", Loss::recent_at_some_replicas},
    FaultKind{Fault::moved, "slot-moved", "slot moved", Loss::none},
    FaultKind{Fault::unordered, "unordered", "failover without an order",
              Loss::recent_at_some_replicas},
    FaultKind{Fault::worker_stopped, "worker-stopped", "worker: SIGSTOP, SIGCONT", Loss::none},
    FaultKind{Fault::worker_killed, "worker-killed", "worker: SIGKILL, replaced", Loss::none},
    FaultKind{Fault::server_stopped, "server-stopped", "server: SIGSTOP, SIGCONT", Loss::none},
    FaultKind{Fault::server_restarted, "server-restarted", "server: SIGKILL, keeps its data",
              Loss::none},
    FaultKind{Fault::server_restarted_empty, "server-restarted-empty", "server: SIGKILL, forgets",
              Loss::everything},
    FaultKind{Fault::server_asleep, "server-asleep", "DEBUG SLEEP", Loss::none},
    FaultKind{Fault::server_busy, "server-busy", "BUSY with a script", Loss::none},
    FaultKind{Fault::server_paused, "server-paused", "CLIENT PAUSE", Loss::none},
    FaultKind{Fault::server_read_only, "server-read-only", "READONLY (REPLICAOF)", Loss::none},
    FaultKind{Fault::server_full, "server-full", "OOM (maxmemory 1)", Loss::none},
    FaultKind{Fault::clients_killed, "clients-killed", "CLIENT KILL", Loss::none},
    FaultKind{Fault::connections_cut, "connections-cut", "connections cut", Loss::none},
    FaultKind{Fault::replies_held, "replies-held", "replies held back", Loss::none},
    FaultKind{Fault::requests_late, "requests-late", "requests delivered late", Loss::none},
    FaultKind{Fault::scripts_flushed, "scripts-flushed", "SCRIPT FLUSH", Loss::none},
    FaultKind{Fault::key_deleted, "key-deleted", "DEL by a stranger", Loss::everything},
    FaultKind{Fault::all_flushed, "all-flushed", "FLUSHALL", Loss::everything},
    FaultKind{Fault::machine_busy, "machine-busy", "the machine had other work", Loss::none}};

}  // namespace

std::span<const FaultKind> all_faults() noexcept { return kinds; }

const FaultKind& kind_of(Fault fault) noexcept {
  return *std::ranges::find(kinds, fault, &FaultKind::fault);
}

std::string_view to_string(Fault fault) noexcept { return kind_of(fault).text; }

bool is_replacement(Fault fault) noexcept {
  const Loss loss = kind_of(fault).loss;
  return loss == Loss::recent_at_no_replica || loss == Loss::recent_at_some_replicas;
}

std::vector<Incident> with_busy_times(std::vector<Incident> incidents,
                                      std::span<const Incident> busy_times) {
  for (Incident& one : incidents) {
    if (!is_replacement(one.fault)) continue;
    Moment known = std::max(one.lossy_until, one.served);
    for (const Incident& busy : busy_times) {
      if (busy.served < one.began || busy.began > known) continue;
      known = one.lossy_until = std::max(known, busy.served);
    }
  }
  incidents.insert(incidents.end(), busy_times.begin(), busy_times.end());
  return incidents;
}

}  // namespace redlatch::test
