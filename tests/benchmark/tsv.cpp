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
  const std::vector<std::string>& absolute = results.figures().absolute;
  const std::vector<std::string>& relative = results.figures().relative;
  for (const auto& [label, text] : circumstances) out << "# " << label << ": " << text << '\n';
  out << "suite\ttransport\tcores\tprocesses\tthreads\tsection_ms\tcontestant\trounds\tcalls";
  const auto name = [&](const std::string& column) {
    out << '\t' << column << '\t' << column << "_least\t" << column << "_most";
  };
  for (const std::string& figure : absolute) name(figure);
  for (const std::string& figure : relative) name(figure + "_ratio");
  out << '\n';

  for (const Row& row : results.rows()) {
    out << row.scenario.suite << '\t' << row.scenario.transport() << '\t' << row.scenario.cores()
        << '\t' << row.scenario.processes << '\t' << row.scenario.threads << '\t'
        << row.scenario.section.count() << '\t' << row.contestant << '\t' << row.rounds.size()
        << '\t' << row.calls();
    for (const std::string& figure : absolute) write(out, row.spread(figure));
    for (const std::string& figure : relative) write(out, results.ratio(row, figure));
    out << '\n';
  }
}

}  // namespace redlatch::benchmark
