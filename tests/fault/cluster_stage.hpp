#pragma once

#include <cstddef>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cluster.hpp"
#include "failover_stage.hpp"

namespace redlatch::test {

/// A cluster, each of whose primaries has as many replicas as those of the other stages. Workers
/// lock the keys of one slot, which fails over, and moves from primary to primary.
class ClusterStage : public Stage {
 public:
  /// `a_key`: one of the keys.
  ClusterStage(const std::string& a_key, ClusterOptions options)
      : slot_(Cluster::slot_of(a_key)), cluster_(std::move(options)) {}

  std::string url() const override { return cluster_.url(); }
  std::vector<Server> servers() override;
  std::size_t primary() override;
  std::span<const Fault> faults() const override;
  std::optional<Incident> fail_over(Fault fault, std::mt19937& random) override;

 private:
  bool begin(Fault fault, std::size_t old, std::mt19937& random);
  void end(Fault fault, std::size_t old, std::mt19937& random);

  unsigned slot_;
  Cluster cluster_;
};

}  // namespace redlatch::test
