#include <chrono>
#include <optional>

#include "suites.hpp"

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

// A template, so that it compiles before there is such an option, and measures it from then on.
template <class Options>
std::optional<Options> with_busy_poll() {
  if constexpr (requires(Options options) { options.busy_poll = 200us; }) {
    Options options;
    options.busy_poll = 200us;
    return options;
  } else {
    return std::nullopt;
  }
}

}  // namespace

std::vector<Match> busy_poll() {
  std::vector<Match> matches;
  const auto polling = with_busy_poll<ClientOptions>();
  if (!polling) return matches;
  for (const bool unix_socket : {false, true}) {
    for (const int threads : {1, 4}) {
      const Scenario scenario{"busy_poll", unix_socket, threads};
      matches.push_back({scenario,
                         {guard(), guard("guard, 200 us", *polling), unlock(),
                          unlock("unlock, 200 us", *polling), bare()}});
    }
  }
  return matches;
}

}  // namespace redlatch::benchmark
