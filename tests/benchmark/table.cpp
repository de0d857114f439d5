#include <algorithm>
#include <cstdio>
#include <vector>

#include "cells.hpp"
#include "contention_table.hpp"
#include "report.hpp"

namespace redlatch::benchmark {
namespace {

void print_rates(const Results& results, const Table& rows) {
  std::printf("  threads %-29s %-24s %-20s %8s %8s %6s  %s\n", "", "cycles/s (least - most)",
              ("x " + results.figures().baseline).c_str(), "CPU us", "allocs", "conns",
              "commands at the server");
  for (const Row* row : rows) {
    std::printf("  %7d %-29s %-24s %-20s %8s %8s %6s  %s\n", row->scenario.threads,
                row->contestant.c_str(),
                with_spread(row->spread("cycles_per_second"), "%6.0f (%.0f - %.0f)").c_str(),
                ratio(results, *row, "cycles_per_second").c_str(),
                median(*row, "cpu_us", "%.1f").c_str(), median(*row, "allocations", "%.1f").c_str(),
                median(*row, "connections", "%.0f").c_str(), row->calls().c_str());
  }
}

void print_latencies(const Results& results, const Table& rows) {
  std::printf("\n  threads %-29s %16s %16s %16s   %-20s %s\n", "us, p50 and p99 of:", "acquire",
              "release", "cycle", "p99 of cycle, and",
              ("p50 of acquire x " + results.figures().baseline).c_str());
  for (const Row* row : rows) {
    std::printf("  %7d %-29s %16s %16s %16s   %-20s %s\n", row->scenario.threads,
                row->contestant.c_str(), p50_p99(*row, "acquire").c_str(),
                p50_p99(*row, "release").c_str(), p50_p99(*row, "cycle").c_str(),
                ratio(results, *row, "cycle_p99_us").c_str(),
                ratio(results, *row, "acquire_p50_us").c_str());
  }
}

void print_writers(const Table& rows) {
  for (const Row* row : rows) {
    if (!row->spread("writer_longest_wait_ms")) continue;
    std::printf("\n  %d readers: the writer waited for at most %s ms, and wrote %s times\n",
                row->scenario.threads,
                with_spread(row->spread("writer_longest_wait_ms"), "%.1f (%.1f - %.1f)").c_str(),
                with_spread(row->spread("writer_acquisitions"), "%.0f (%.0f - %.0f)").c_str());
  }
}

void print_quotients(const Results& results, const Table& rows) {
  const std::vector<Quotient>& quotients = results.figures().quotients;
  if (quotients.empty()) return;
  std::printf("\n  threads %-40s %-24s %s\n", "", "cycles/s (least - most)", "CPU time of a cycle");
  const Scenario* scenario = nullptr;
  for (const Row* row : rows) {
    if (scenario != nullptr && *scenario == row->scenario) continue;
    scenario = &row->scenario;
    for (const Quotient& one : quotients) {
      const auto of = [&](const std::string& figure) {
        return with_spread(results.quotient(*scenario, one, figure), "%.2f (%.2f - %.2f)");
      };
      std::printf("  %7d %-40s %-24s %s\n", scenario->threads, one.title.c_str(),
                  of("cycles_per_second").c_str(), of("cpu_us").c_str());
    }
  }
}

void print_uncontended(const Results& results, const Table& rows) {
  print_rates(results, rows);
  print_latencies(results, rows);
  print_writers(rows);
  print_quotients(results, rows);
}

bool is_contended(const Row& row) { return row.scenario.suite == "contention"; }

bool in_one_table(const Scenario& a, const Scenario& b) {
  return a.suite == b.suite && a.unix_socket == b.unix_socket && a.pinned == b.pinned &&
         a.section == b.section;
}

}  // namespace

void print(const Circumstances& circumstances, const Results& results) {
  for (const auto& [label, text] : circumstances) {
    std::printf("%-8s %s\n", label.c_str(), text.c_str());
  }
  const std::vector<Row>& rows = results.rows();
  for (auto row = rows.begin(); row != rows.end();) {
    const Scenario& scenario = row->scenario;
    const bool contended = is_contended(*row);
    std::printf("\n%s: %s, %s%s\n\n", scenario.suite.c_str(), scenario.transport().c_str(),
                scenario.cores().c_str(), contended ? (", " + scenario.sections()).c_str() : "");
    Table table;
    for (; row != rows.end() && in_one_table(scenario, row->scenario); ++row) {
      table.push_back(&*row);
    }
    if (contended) {
      print_contention(results, table);
    } else {
      print_uncontended(results, table);
    }
  }
  if (std::any_of(rows.begin(), rows.end(), is_contended)) explain_contention();
}

}  // namespace redlatch::benchmark
