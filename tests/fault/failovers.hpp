#pragma once

#include <cstddef>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "failover_stage.hpp"
#include "incident.hpp"

namespace redlatch::test {

/// The failovers of a stage: those that are ordered here, and those that nothing has ordered. On a
/// busy machine, a live primary is taken for dead.
class Failovers {
 public:
  explicit Failovers(Stage& stage) : stage_(stage) { look(); }

  /// Orders one, and says whether it was seen to land. It may have happened all the same if not.
  std::pair<Incident, bool> order(Fault fault, std::mt19937& random);
  /// Notes a change of the primary since the last look or order. To be called often: whatever was
  /// written since the primary's replicas were last seen in step may be lost by it.
  void look();

  const std::vector<Incident>& unordered() const noexcept { return unordered_; }

 private:
  std::optional<std::size_t> primary();

  Stage& stage_;
  std::vector<Incident> unordered_{};
  std::optional<std::size_t> primary_{};  // as of the last look that was answered
  Moment in_step_ = HistoryClock::now();  // the replicas, when last seen
};

}  // namespace redlatch::test
