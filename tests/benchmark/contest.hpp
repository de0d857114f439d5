#pragma once

#include <functional>

#include "contestants.hpp"

namespace redlatch::benchmark {

/// Lets the contenders of a scenario, in processes and threads of their own, take and release one
/// lock at the same time. `make_team` is called in each process and makes its workers. Throws when
/// two of them had the lock at once, when one threw or hung.
///
/// - acquisitions_per_second
/// - hand_over_p50_us, hand_over_p99_us: from just before a release until the next contender has
///   the lock, wherever a contender was waiting at the release and it went to another one;
///   hand_overs: the share of the acquisitions where that is so
/// - longest_wait_ms: from a call until it had the lock or, if it had not, until the end of the
///   measured time; calls made during the warm-up count in full
/// - jain: Jain's index of fairness over the contenders' acquisitions: 1 when all have as many, 1/n
///   when one of n has all
/// - sent: the commands that clients sent for an acquisition
/// - cpu_us, server_cpu_us: the processor time that clients and server used for an acquisition
Sample contest(const Scenario& scenario, const Setting& setting,
               const std::function<Team()>& make_team);

}  // namespace redlatch::benchmark
