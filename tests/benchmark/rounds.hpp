#pragma once

#include <vector>

#include "results.hpp"

namespace redlatch::benchmark {

/// Measures each contestant once in each round, one after the other in an order that is drawn for
/// each round, so that whatever else the machine does meets all of them. False when a measurement
/// failed, and that round was the last; it was said on standard error which one and why.
bool run_rounds(int rounds, const Scenario& scenario, const std::vector<Contestant>& contestants,
                const Setting& setting, Results& results);

}  // namespace redlatch::benchmark
