#include "contention_table.hpp"

#include <cstdio>

namespace redlatch::benchmark {
namespace {

void print_rates(const Results& results, const Table& rows) {
  std::printf("  %-24s %-18s %-23s %-20s %5s %8s %8s %6s  %s\n", "", "", "acquisitions/s",
              "x polling 1 ms", "Jain", "CPU us", "server's", "sent", "commands at the server");
  for (const Row* row : rows) {
    std::printf("  %-24s %-18s %-23s %-20s %5s %8s %8s %6s  %s\n", row->scenario.layout().c_str(),
                row->contestant.c_str(),
                with_spread(row->spread("acquisitions_per_second"), "%6.0f (%.0f - %.0f)").c_str(),
                ratio(results, *row, "acquisitions_per_second").c_str(),
                median(*row, "jain", "%.2f").c_str(), median(*row, "cpu_us", "%.1f").c_str(),
                median(*row, "server_cpu_us", "%.1f").c_str(), median(*row, "sent", "%.2f").c_str(),
                row->calls().c_str());
  }
}

void print_waits(const Results& results, const Table& rows) {
  std::printf("\n  %-24s %-18s %18s  %-20s %6s  %-24s %s\n", "", "", "hand-over p50, p99",
              "p99 x polling 1 ms", "of all", "longest wait, ms", "x polling 1 ms");
  for (const Row* row : rows) {
    std::printf("  %-24s %-18s %18s  %-20s %6s  %-24s %s\n", row->scenario.layout().c_str(),
                row->contestant.c_str(), p50_p99(*row, "hand_over").c_str(),
                ratio(results, *row, "hand_over_p99_us").c_str(),
                median(*row, "hand_overs", "%.3f").c_str(),
                with_spread(row->spread("longest_wait_ms"), "%.1f (%.1f - %.1f)").c_str(),
                ratio(results, *row, "longest_wait_ms").c_str());
  }
}

}  // namespace

void print_contention(const Results& results, const Table& rows) {
  print_rates(results, rows);
  print_waits(results, rows);
}

void explain_contention() {
  std::printf(
      "\nhand-over: us from just before a release until the next contender has the lock, where\n"
      "a contender waited at the release and has it next; \"of all\": the share of the\n"
      "acquisitions that are such. Waits that are open at the end count as far as they have got:\n"
      "none is longer than warm-up and window. CPU and commands are for each acquisition; "
      "\"sent\"\n"
      "leaves out what scripts run. A holder sleeps through its section.\n");
}

}  // namespace redlatch::benchmark
