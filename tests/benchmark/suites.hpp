#pragma once

#include <string>
#include <vector>

#include "contestants.hpp"
#include "results.hpp"

namespace redlatch::benchmark {

/// A scenario with all that are compared in it.
struct Match {
  Scenario scenario;
  std::vector<Contestant> contestants;
};

struct Effort {
  int rounds;
  Window window;
};

struct Suite {
  std::vector<Match> matches;
  Effort full;
  Effort quick;
  Figures figures;
  bool tls = false;  // the server has a port for TLS, too
};

/// One of these, or "all" of the first four but core, which is a part of engine:
///
/// - core: one thread waiting for both answers, beside bare hiredis
/// - engine: 1, 4, 16 and 64 threads, TCP and Unix socket, unpinned and pinned
/// - ladder: how a lock is released, with scripts and without
/// - busy_poll: `ClientOptions::busy_poll`, in a library that has it
/// - family: a cycle of each class beside one of Lock, and readers of one key
/// - redlock: a lock on five servers beside one on one of them, and beside asking one by one
/// - cluster: on one node of a cluster and on three, beside one server
/// - tls: over TLS and over plain TCP, beside blocking loops with OpenSSL and without it
/// - contention: one key and 2, 8 and 32 contenders, in processes, threads and both
///
/// Without matches for any other name.
Suite suite(const std::string& name);

/// The matches of busy_poll.
std::vector<Match> busy_poll();

/// The ones of redlock, cluster, tls, family and contention.
Suite redlock();
Suite cluster();
Suite tls();
Suite family();
Suite contention();

}  // namespace redlatch::benchmark
