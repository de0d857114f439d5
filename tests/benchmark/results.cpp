#include "results.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace redlatch::benchmark {
namespace {

std::optional<Spread> spread_of(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  return Spread{values.front(), values[values.size() / 2], values.back()};
}

auto is(const Scenario& scenario, const std::string& contestant) {
  return [&](const Row& row) { return row.scenario == scenario && row.contestant == contestant; };
}

}  // namespace

std::optional<Spread> Row::spread(const std::string& figure) const {
  std::vector<double> values;
  for (const Sample& round : rounds) {
    if (const auto found = round.find(figure); found != round.end())
      values.push_back(found->second);
  }
  return spread_of(std::move(values));
}

std::string Row::calls() const {
  static const std::string prefix = "calls:";
  if (rounds.empty()) return {};
  std::string text;
  for (const auto& [figure, ignored] : rounds.front()) {
    if (!figure.starts_with(prefix)) continue;
    const double count = spread(figure)->median;
    if (count < 0.01) continue;  // what connecting takes
    char number[32];
    std::snprintf(number, sizeof number, " %.3g", count);
    text += (text.empty() ? "" : ", ") + figure.substr(prefix.size()) + number;
  }
  return text;
}

Row& Results::row(const Scenario& scenario, const std::string& contestant) {
  const auto found = std::find_if(rows_.begin(), rows_.end(), is(scenario, contestant));
  return found != rows_.end() ? *found : rows_.emplace_back(Row{scenario, contestant});
}

std::optional<Spread> Results::ratio(const Row& row, const std::string& figure) const {
  const auto base = std::find_if(rows_.begin(), rows_.end(), is(row.scenario, figures_.baseline));
  if (base == rows_.end()) return std::nullopt;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(row.rounds.size(), base->rounds.size()); ++i) {
    const auto mine = row.rounds[i].find(figure);
    const auto theirs = base->rounds[i].find(figure);
    if (mine == row.rounds[i].end() || theirs == base->rounds[i].end()) continue;
    ratios.push_back(mine->second / theirs->second);
  }
  return spread_of(std::move(ratios));
}

}  // namespace redlatch::benchmark
