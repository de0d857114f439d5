#include "report.hpp"

namespace redlatch::benchmark {
namespace {

void write(std::ostream& out, const std::optional<Spread>& spread) {
  if (spread) {
    out << '\t' << spread->median << '\t' << spread->least << '\t' << spread->most;
  } else {
    out << "\tNaN\tNaN\tNaN";
  }
}

}  // namespace

void write_tsv(std::ostream& out, const Circumstances& circumstances, const Results& results) {
  static const std::vector<std::string> figures{
      "cycles_per_second", "acquire_p50_us", "acquire_p99_us", "release_p50_us", "release_p99_us",
      "cycle_p50_us",      "cycle_p99_us",   "commands",       "cpu_us",         "allocations",
      "connections"};
  static const std::vector<std::string> ratios{"cycles_per_second", "cycle_p99_us"};

  for (const auto& [label, text] : circumstances) out << "# " << label << ": " << text << '\n';
  out << "suite\ttransport\tcores\tthreads\tcontestant\trounds\tcalls";
  const auto name = [&](const std::string& column) {
    out << '\t' << column << '\t' << column << "_least\t" << column << "_most";
  };
  for (const std::string& figure : figures) name(figure);
  for (const std::string& figure : ratios) name(figure + "_ratio");
  out << '\n';

  for (const Row& row : results.rows()) {
    out << row.scenario.suite << '\t' << row.scenario.transport() << '\t' << row.scenario.cores()
        << '\t' << row.scenario.threads << '\t' << row.contestant << '\t' << row.rounds.size()
        << '\t' << row.calls();
    for (const std::string& figure : figures) write(out, row.spread(figure));
    for (const std::string& figure : ratios) write(out, results.ratio(row, figure));
    out << '\n';
  }
}

}  // namespace redlatch::benchmark
