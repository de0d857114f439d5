#include "suites.hpp"

namespace redlatch::benchmark {
namespace {

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
        Match match{{"engine", unix_socket, threads, pinned}, {guard(), unlock(), bare()}};
        if (threads == 1) match.contestants.push_back(redis_py());
        matches.push_back(std::move(match));
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

}  // namespace

std::vector<Match> suite(const std::string& name) {
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

}  // namespace redlatch::benchmark
