#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "failover_stage.hpp"
#include "failovers.hpp"
#include "links.hpp"
#include "servers.hpp"
#include "trouble.hpp"
#include "workers.hpp"

namespace redlatch::test {

/// What faults can be made of.
struct Targets {
  Workers* workers;
  Links* links;
  // Either of these:
  Servers* servers;
  Stage* stage;
  std::size_t keys;  // that may be deleted: those with numbers below
};

/// How often a fault was tried, was seen to land, and was so while another one was going on.
struct FaultCount {
  std::size_t tried = 0;
  std::size_t landed = 0;
  std::size_t in_pairs = 0;
};

/// Makes faults, one or two at a time. Their kinds, targets and times are drawn from a seed.
class Nemesis {
 public:
  /// `monitored`: a client is subscribed to everything.
  Nemesis(Targets targets, std::span<const Fault> faults, std::uint64_t seed, bool monitored);

  /// Until then; the last one may take longer.
  void torment(Moment end);
  /// At the end: failovers that were none of these faults.
  void note_unordered();

  const std::vector<Incident>& incidents() const noexcept { return incidents_; }
  const std::map<Fault, FaultCount>& counts() const noexcept { return counts_; }

 private:
  using Milliseconds = std::chrono::milliseconds;

  bool is_failover(Fault fault) const;
  std::vector<Fault> draw();
  Milliseconds random_time(Milliseconds most);
  void have(const std::vector<Fault>& faults);
  std::optional<Trouble> begin(Fault fault, Milliseconds time);
  std::optional<Trouble> try_to_begin(Fault fault, Milliseconds time);
  std::optional<Trouble> begin_at_server(Fault fault, Milliseconds time);
  bool finish(Trouble& trouble);

  Targets targets_;
  std::span<const Fault> faults_;
  std::mt19937 random_;
  bool monitored_;
  Milliseconds max_pause_;
  std::vector<Incident> incidents_{};
  std::map<Fault, FaultCount> counts_{};
  std::optional<Failovers> failovers_{};
};

}  // namespace redlatch::test
