#pragma once

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "results.hpp"

// What tables are made of.
namespace redlatch::benchmark {

using Table = std::vector<const Row*>;

template <class... Values>
std::string text(const char* format, Values... values) {
  std::string line(128, '\0');
  const int length = std::snprintf(line.data(), line.size(), format, values...);
  line.resize(static_cast<std::size_t>(std::clamp(length, 0, 127)));
  return line;
}

/// The median with the least and the most.
inline std::string with_spread(const std::optional<Spread>& spread, const char* format) {
  return spread ? text(format, spread->median, spread->least, spread->most) : "-";
}

inline std::string ratio(const Results& results, const Row& row, const std::string& figure) {
  if (row.contestant == results.figures().baseline) return "1";
  return with_spread(results.ratio(row, figure), "%.2f (%.2f - %.2f)");
}

inline std::string median(const Row& row, const std::string& figure, const char* format) {
  const auto spread = row.spread(figure);
  return spread ? text(format, spread->median) : "-";
}

inline std::string p50_p99(const Row& row, const std::string& what) {
  if (!row.spread(what + "_p99_us")) return "-";
  return median(row, what + "_p50_us", "%.1f") + median(row, what + "_p99_us", " %8.1f");
}

}  // namespace redlatch::benchmark
