#include "results.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <map>
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
  return quotient(row.scenario, {{}, {row.contestant}, {figures_.baseline}}, figure);
}

std::optional<Spread> Results::quotient(const Scenario& scenario, const Quotient& quotient,
                                        const std::string& figure) const {
  std::map<std::size_t, std::pair<double, std::size_t>> rounds;  // value, and factors that it has
  const auto multiply = [&](const std::string& contestant, double exponent) {
    const auto row = std::find_if(rows_.begin(), rows_.end(), is(scenario, contestant));
    for (std::size_t i = 0; row != rows_.end() && i < row->rounds.size(); ++i) {
      const auto found = row->rounds[i].find(figure);
      if (found == row->rounds[i].end()) continue;
      auto& [value, factors] = rounds.try_emplace(i, 1.0, 0).first->second;
      value *= std::pow(found->second, exponent);
      ++factors;
    }
  };
  for (const std::string& contestant : quotient.over) multiply(contestant, 1);
  for (const std::string& contestant : quotient.under) multiply(contestant, -1);
  std::vector<double> values;
  for (const auto& [round, product] : rounds) {
    const auto& [value, factors] = product;
    if (factors == quotient.over.size() + quotient.under.size()) values.push_back(value);
  }
  return spread_of(std::move(values));
}

}  // namespace redlatch::benchmark
