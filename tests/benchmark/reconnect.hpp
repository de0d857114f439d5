#pragma once

#include <string>

namespace redlatch::benchmark {

/// `./dev bench reconnect`: kills a server that 1,000 clients use, starts it again, and prints when
/// their connections arrive there. With `quick` there are 100 clients. `data` is a file for the
/// arrivals, for the plot; empty: none.
void reconnect(bool quick, const std::string& data);

}  // namespace redlatch::benchmark
