#pragma once

#include <string>

namespace redlatch::benchmark {

/// "AMD EPYC, 2 virtual cores, Debian GNU/Linux 12 (bookworm), Linux 6.1.0"
std::string machine();

/// "2026-11-24", by UTC.
std::string today();

}  // namespace redlatch::benchmark
