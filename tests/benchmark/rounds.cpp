#include "rounds.hpp"

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <exception>

namespace redlatch::benchmark {
namespace {

/// Takes the counters of each run over.
class Collector final : public ::benchmark::BenchmarkReporter {
 public:
  Collector(const Scenario& scenario, Results& results) : scenario_(scenario), results_(results) {}

  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const std::string& name = run.run_name.function_name;
      if (run.error_occurred) {
        failed_ = true;
        std::fprintf(stderr, "bench: %s: %s: %s\n", scenario_.title().c_str(), name.c_str(),
                     run.error_message.c_str());
        continue;
      }
      Sample sample;
      for (const auto& [figure, counter] : run.counters) sample[figure] = counter.value;
      results_.row(scenario_, name).rounds.push_back(std::move(sample));
    }
  }

  bool failed() const noexcept { return failed_; }

 private:
  const Scenario& scenario_;
  Results& results_;
  bool failed_ = false;
};

void measure(::benchmark::State& state, const Contestant& contestant, const Scenario& scenario,
             const Setting& setting) {
  for ([[maybe_unused]] auto _ : state) {
    try {
      const Sample sample = contestant.measure(scenario, setting);
      for (const auto& [figure, value] : sample) state.counters[figure] = value;
      setting.view.wait_until_deserted();
    } catch (const std::exception& error) {
      state.SkipWithError(error.what());
    }
    state.SetIterationTime(std::chrono::duration<double>(setting.window.measured).count());
  }
}

}  // namespace

bool run_rounds(int rounds, const Scenario& scenario, const std::vector<Contestant>& contestants,
                const Setting& setting, Results& results) {
  // All threads of a contestant are in one iteration, which is a window of time: with a number of
  // cycles for each thread, the last ones would be measured while others have ended already.
  for (const Contestant& contestant : contestants) {
    results.row(scenario, contestant.name);
    ::benchmark::RegisterBenchmark(
        contestant.name.c_str(),
        [&](::benchmark::State& state) { measure(state, contestant, scenario, setting); })
        ->Iterations(1)
        ->UseManualTime();
  }
  Collector collector(scenario, results);
  for (int round = 0; round < rounds && !collector.failed(); ++round) {
    ::benchmark::RunSpecifiedBenchmarks(&collector, ".");
  }
  ::benchmark::ClearRegisteredBenchmarks();
  return !collector.failed();
}

}  // namespace redlatch::benchmark
