#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

namespace redlatch::benchmark {

/// Pairs "redlatch/X" with "bare/X" by repetition and prints cycles per second and their ratio, as
/// the median with the least and the largest.
class RatioReporter : public ::benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

  bool failed() const noexcept { return failed_; }

 private:
  std::map<std::string, std::map<std::int64_t, double>> rates_{};  // by name and repetition
  bool failed_ = false;
};

}  // namespace redlatch::benchmark
