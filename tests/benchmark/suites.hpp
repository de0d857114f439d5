#pragma once

#include <string>
#include <vector>

#include "contestants.hpp"

namespace redlatch::benchmark {

/// A scenario with all that are compared in it.
struct Match {
  Scenario scenario;
  std::vector<Contestant> contestants;
};

/// One of these, or "all" of them but core, which is a part of engine:
///
/// - core: one thread waiting for both answers, beside bare hiredis
/// - engine: 1, 4, 16 and 64 threads, TCP and Unix socket, unpinned and pinned
/// - ladder: how a lock is released, with scripts and without
/// - busy_poll: `ClientOptions::busy_poll`, in a library that has it
///
/// Nothing for any other name.
std::vector<Match> suite(const std::string& name);

/// The one of busy_poll.
std::vector<Match> busy_poll();

}  // namespace redlatch::benchmark
