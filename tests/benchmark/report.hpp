#pragma once

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "results.hpp"

namespace redlatch::benchmark {

/// What has to be known of a run to repeat it: labels and their texts.
using Circumstances = std::vector<std::pair<std::string, std::string>>;

/// Tables for people, on standard output.
void print(const Circumstances& circumstances, const Results& results);

/// A line for each row, the columns being separated by tabs and named in the first line that is not
/// a comment; "NaN" where there is no figure. The circumstances are comments.
void write_tsv(std::ostream& out, const Circumstances& circumstances, const Results& results);

}  // namespace redlatch::benchmark
