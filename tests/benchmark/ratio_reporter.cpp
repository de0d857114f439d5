#include "ratio_reporter.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace redlatch::benchmark {
namespace {

struct Spread {
  double least;
  double median;
  double most;
};

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

}  // namespace

void RatioReporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.error_occurred) {
      failed_ = true;
      std::fprintf(stderr, "%s: %s\n", run.benchmark_name().c_str(), run.error_message.c_str());
    } else if (run.run_type == Run::RT_Iteration) {
      rates_[run.run_name.function_name][run.repetition_index] =
          static_cast<double>(run.iterations) / run.real_accumulated_time;
    }
  }
}

void RatioReporter::Finalize() {
  std::printf("%-28s %28s %28s   %s\n", "", "redlatch, cycles/s", "bare hiredis, cycles/s",
              "ratio: median (least - most)");
  for (const auto& [name, repetitions] : rates_) {
    if (!name.starts_with("redlatch/")) continue;
    const std::string rest = name.substr(name.find('/'));
    const auto bare = rates_.find("bare" + rest);
    if (bare == rates_.end()) continue;
    std::vector<double> ours;
    std::vector<double> theirs;
    std::vector<double> ratios;
    for (const auto& [repetition, rate] : repetitions) {
      const auto other = bare->second.find(repetition);
      if (other == bare->second.end()) continue;
      ours.push_back(rate);
      theirs.push_back(other->second);
      ratios.push_back(rate / other->second);
    }
    if (ratios.empty()) continue;
    const Spread a = spread_of(ours);
    const Spread b = spread_of(theirs);
    const Spread c = spread_of(ratios);
    std::printf("%-28s %8.0f (%7.0f - %7.0f) %8.0f (%7.0f - %7.0f)   %.3f (%.3f - %.3f), n = %zu\n",
                rest.c_str() + 1, a.median, a.least, a.most, b.median, b.least, b.most, c.median,
                c.least, c.most, ratios.size());
  }
}

}  // namespace redlatch::benchmark
