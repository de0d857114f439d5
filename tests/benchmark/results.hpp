#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "contestants.hpp"

namespace redlatch::benchmark {

struct Spread {
  double least;
  double median;
  double most;
};

/// The rounds of one contestant in one scenario.
struct Row {
  Scenario scenario;
  std::string contestant;
  std::vector<Sample> rounds{};

  /// Of a figure by its name; nothing when this contestant has none of that name.
  std::optional<Spread> spread(const std::string& figure) const;
  /// "set 1, evalsha 1": the commands that the server ran in a cycle.
  std::string calls() const;
};

/// The product of a figure of some contestants, divided by that of others, formed in each round.
struct Quotient {
  std::string title;
  std::vector<std::string> over;
  std::vector<std::string> under;
};

/// What is told of a run.
struct Figures {
  std::vector<std::string> absolute{};
  std::vector<std::string> relative{};  // also as multiples of the baseline's
  std::string baseline{};               // a contestant
  std::vector<Quotient> quotients{};
};

/// Of cycles of a lock and an unlock.
inline Figures cycle_figures(std::string contestant) {
  return {.absolute = {"cycles_per_second", "acquire_p50_us", "acquire_p99_us", "release_p50_us",
                       "release_p99_us", "cycle_p50_us", "cycle_p99_us", "commands", "cpu_us",
                       "allocations", "connections"},
          .relative = {"cycles_per_second", "cycle_p99_us"},
          .baseline = std::move(contestant)};
}

/// What was measured so far. Rounds count from 0, and a round has one sample of each contestant.
class Results {
 public:
  explicit Results(Figures figures) : figures_(std::move(figures)) {}

  /// The row that is meant, which is a new one, behind the others, at its first mention.
  Row& row(const Scenario& scenario, const std::string& contestant);

  const Figures& figures() const noexcept { return figures_; }
  const std::vector<Row>& rows() const noexcept { return rows_; }

  /// The figure as a multiple of what the baseline had in the same round.
  std::optional<Spread> ratio(const Row& row, const std::string& figure) const;
  /// Nothing when a contestant has no such figure in this scenario.
  std::optional<Spread> quotient(const Scenario& scenario, const Quotient& quotient,
                                 const std::string& figure) const;

 private:
  Figures figures_;
  std::vector<Row> rows_{};
};

}  // namespace redlatch::benchmark
