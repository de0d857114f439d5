#include "suites.hpp"

#include <chrono>

namespace redlatch::benchmark {
namespace {

using namespace std::chrono_literals;

std::vector<Match> core() {
  std::vector<Match> matches;
  for (const bool unix_socket : {false, true}) {
    const Scenario scenario{"core", unix_socket};
    matches.push_back({scenario, {unlock(), bare()}});
  }
  return matches;
}

std::vector<Match> engine() {
  std::vector<Match> matches;
  for (const bool unix_socket : {false, true}) {
    for (const bool pinned : {false, true}) {
      for (const int threads : {1, 4, 16, 64}) {
        const Scenario scenario{"engine", unix_socket, threads, pinned};
        matches.push_back({scenario, {guard(), unlock(), bare()}});
        if (threads == 1) matches.back().contestants.push_back(redis_py());
      }
    }
  }
  return matches;
}

std::vector<Match> ladder() {
  const ClientOptions none{.scripting = false};
  const std::vector<Contestant> contestants{
      guard("guard, scripts"), guard("guard, no scripts", none), unlock("unlock, scripts"),
      unlock("unlock, no scripts", none), bare()};
  std::vector<Match> matches;
  for (const int threads : {1, 64}) {
    matches.push_back({Scenario{.suite = "ladder", .threads = threads}, contestants});
  }
  return matches;
}

std::vector<Match> uncontended(const std::string& name) {
  if (name == "core") return core();
  if (name == "engine") return engine();
  if (name == "ladder") return ladder();
  if (name == "busy_poll") return busy_poll();
  std::vector<Match> all;
  if (name != "all") return all;
  for (const auto& part : {engine(), ladder(), busy_poll()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace

Suite suite(const std::string& name) {
  if (name == "contention") return contention();
  if (name == "redlock") return redlock();
  if (name == "cluster") return cluster();
  if (name == "family") return family();
  if (name == "tls") return tls();
  return {.matches = uncontended(name),
          .full = {11, {100ms, 500ms}},
          .quick = {3, {30ms, 100ms}},
          .figures = cycle_figures(baseline)};
}

}  // namespace redlatch::benchmark
