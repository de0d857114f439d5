#pragma once

#include "cells.hpp"
#include "results.hpp"

namespace redlatch::benchmark {

/// Tables of contention for people, on standard output.
void print_contention(const Results& results, const Table& rows);

/// What their columns mean.
void explain_contention();

}  // namespace redlatch::benchmark
