#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <redlatch/detail/clock.hpp>

namespace redlatch::test {

/// The clock of the library, which all processes of a machine share.
using HistoryClock = detail::BootClock;
using Moment = HistoryClock::time_point;

enum class Fault {
  // A primary is replaced by one of its replicas. `failover`: ordered of a Sentinel. `planned`,
  // `takeover` and `moved` are of a cluster: a failover with and without the old primary's consent,
  // and a slot that moves to another primary. `unordered`: others have taken it for dead.
  kill,
  stop,
  failover,
  name,
  planned,
  takeover,
  moved,
  unordered,
  // Of a worker.
  worker_stopped,
  worker_killed,
  // Of a server that is not replaced.
  server_stopped,
  server_restarted,
  server_restarted_empty,
  server_asleep,
  server_busy,
  server_paused,
  server_read_only,
  server_full,
  // Of connections.
  clients_killed,
  connections_cut,
  replies_held,
  requests_late,
  // Of what a server keeps.
  scripts_flushed,
  key_deleted,
  all_flushed,
  // Of the machine, which has other work to do.
  machine_busy
};

/// What a fault may lose of what servers have been told.
enum class Loss {
  none,
  recent_at_no_replica,     // what no replica has yet: the one that has most is promoted
  recent_at_some_replicas,  // the old primary goes on for a while, with those that are not promoted
  everything
};

struct FaultKind {
  Fault fault;
  std::string_view name;  // on a command line
  std::string_view text;
  Loss loss;
};
std::span<const FaultKind> all_faults() noexcept;
const FaultKind& kind_of(Fault fault) noexcept;
std::string_view to_string(Fault fault) noexcept;
/// Whether another server takes the place of a primary, with what has reached it.
bool is_replacement(Fault fault) noexcept;

/// A fault that was there.
struct Incident {
  static constexpr std::size_t all_resources = static_cast<std::size_t>(-1);

  Fault fault{};
  Moment began{};
  /// Writes from `began` until then may be lost, by the fault's `Loss`, and with
  /// `Loss::everything` all earlier ones, too. A killed worker has ended by then.
  Moment lossy_until{};
  Moment served{};                        // a waiter can acquire again
  Moment healthy{};                       // a primary has all its replicas
  std::size_t resource = all_resources;   // of which something may be lost
  std::optional<std::uint16_t> killed{};  // a worker, by its number
};

/// All of them. While the machine is busy, clients hear late that a primary was replaced, and what
/// they write to the former one is lost: `lossy_until` of such an incident is then behind the busy
/// times (`Fault::machine_busy`, one behind the other) that touch it.
std::vector<Incident> with_busy_times(std::vector<Incident> incidents,
                                      std::span<const Incident> busy_times);

}  // namespace redlatch::test
