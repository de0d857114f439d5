#include <algorithm>
#include <cstdio>

#include "report.hpp"

namespace redlatch::benchmark {
namespace {

template <class... Values>
std::string text(const char* format, Values... values) {
  std::string line(128, '\0');
  const int length = std::snprintf(line.data(), line.size(), format, values...);
  line.resize(static_cast<std::size_t>(std::clamp(length, 0, 127)));
  return line;
}

/// The median with the least and the most.
std::string with_spread(const std::optional<Spread>& spread, const char* format) {
  return spread ? text(format, spread->median, spread->least, spread->most) : "-";
}

std::string ratio(const Results& results, const Row& row, const std::string& figure) {
  if (row.contestant == baseline) return "1";
  return with_spread(results.ratio(row, figure), "%.2f (%.2f - %.2f)");
}

std::string median(const Row& row, const std::string& figure, const char* format) {
  const auto spread = row.spread(figure);
  return spread ? text(format, spread->median) : "-";
}

std::string p50_p99(const Row& row, const std::string& what) {
  if (!row.spread(what + "_p99_us")) return "-";
  return median(row, what + "_p50_us", "%.1f") + median(row, what + "_p99_us", " %8.1f");
}

void print_rates(const Results& results, const std::vector<const Row*>& rows) {
  std::printf("  threads %-18s %-24s %-20s %8s %8s %6s  %s\n", "", "cycles/s (least - most)",
              "x bare hiredis", "CPU us", "allocs", "conns", "commands at the server");
  for (const Row* row : rows) {
    std::printf("  %7d %-18s %-24s %-20s %8s %8s %6s  %s\n", row->scenario.threads,
                row->contestant.c_str(),
                with_spread(row->spread("cycles_per_second"), "%6.0f (%.0f - %.0f)").c_str(),
                ratio(results, *row, "cycles_per_second").c_str(),
                median(*row, "cpu_us", "%.1f").c_str(), median(*row, "allocations", "%.1f").c_str(),
                median(*row, "connections", "%.0f").c_str(), row->calls().c_str());
  }
}

void print_latencies(const Results& results, const std::vector<const Row*>& rows) {
  std::printf("\n  threads %-18s %16s %16s %16s   %s\n", "us, p50 and p99 of:", "acquire",
              "release", "cycle", "p99 of cycle x bare hiredis");
  for (const Row* row : rows) {
    std::printf("  %7d %-18s %16s %16s %16s   %s\n", row->scenario.threads, row->contestant.c_str(),
                p50_p99(*row, "acquire").c_str(), p50_p99(*row, "release").c_str(),
                p50_p99(*row, "cycle").c_str(), ratio(results, *row, "cycle_p99_us").c_str());
  }
}

bool in_one_table(const Scenario& a, const Scenario& b) {
  return a.suite == b.suite && a.unix_socket == b.unix_socket && a.pinned == b.pinned;
}

}  // namespace

void print(const Circumstances& circumstances, const Results& results) {
  for (const auto& [label, text] : circumstances) {
    std::printf("%-8s %s\n", label.c_str(), text.c_str());
  }
  const std::vector<Row>& rows = results.rows();
  for (auto row = rows.begin(); row != rows.end();) {
    const Scenario& scenario = row->scenario;
    std::printf("\n%s: %s, %s\n\n", scenario.suite.c_str(), scenario.transport().c_str(),
                scenario.cores().c_str());
    std::vector<const Row*> table;
    for (; row != rows.end() && in_one_table(scenario, row->scenario); ++row) {
      table.push_back(&*row);
    }
    print_rates(results, table);
    print_latencies(results, table);
  }
}

}  // namespace redlatch::benchmark
